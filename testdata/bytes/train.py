"""Trains the model of this folder: a byte-level model of specs/allmem.spec that
reads this repository's own text.

    python3 testdata/bytes/train.py           # trains, writes model.safetensors
    python3 testdata/bytes/train.py --check   # bits per byte of text.txt, to compare with memc run

It needs PyTorch 2.9 or newer and a clone that has the commit below.
"""

import argparse
import io
import json
import math
import pathlib
import re
import struct
import subprocess
import tarfile
import time

import torch
from torch.nn import functional as F

COMMIT = "7fce40549f043f3feeb882d006172ffe0e010f92"  # whose files are read
HELD_OUT = "docs/architecture.md"  # text.txt is this file
STREAM, BATCH, STEPS = 1024, 4, 2400  # a stream of 1024 bytes has 16 chunks: its memory is read 15 times behind a write

here = pathlib.Path(__file__).parent
c = argparse.Namespace(**json.loads((here / "config.json").read_text()))


# The model. Rows are [batch, time, hidden], w the tensors by name, p the prefix of
# a layer's names.


def rms(x, w):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + c.rms_norm_eps) * w


def rope(x):  # [batch, heads, time, head_dim]
    half = c.head_dim // 2
    angle = torch.arange(x.shape[2])[:, None] * c.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    lo, hi = x[..., :half], x[..., half:]
    return torch.cat([lo * cos - hi * sin, hi * cos + lo * sin], -1)


def attention(n, w, p):
    """Window attention. Rows are cut into blocks of a window, each of which sees
    itself and the block before it."""
    b, t, _ = n.shape
    size, h, g, d = c.window, c.num_attention_heads, c.num_key_value_heads, c.head_dim
    heads = lambda name, count: F.linear(n, w[p + name + ".weight"]).view(b, t, count, d)
    q = rope(rms(heads("q_proj", h), w[p + "q_norm.weight"]).transpose(1, 2))
    k = rope(rms(heads("k_proj", g), w[p + "k_norm.weight"]).transpose(1, 2))
    v = heads("v_proj", g).transpose(1, 2)
    pad = -t % size
    blocks = lambda x: F.pad(x, (0, 0, 0, pad)).unflatten(2, (-1, size))
    before = lambda x: torch.cat([F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1], x], 3).repeat_interleave(h // g, 1)
    i, j = torch.arange(size)[:, None], torch.arange(2 * size)[None] - size
    sees = ((j <= i) & (i - j < size)).expand((t + pad) // size, -1, -1).clone()
    sees[0] &= j >= 0
    scores = blocks(q) @ before(blocks(k)).transpose(-1, -2) / math.sqrt(d)
    o = scores.masked_fill(~sees, -math.inf).softmax(-1) @ before(blocks(v))
    return F.linear(o.flatten(2, 3)[:, :, :t].transpose(1, 2).flatten(2), w[p + "o_proj.weight"])


def memory(n, w, p):
    """The memory: a residual SwiGLU for each head, whose weights take a step of
    gradient descent with momentum behind each chunk."""
    b, t, _ = n.shape
    h, size = c.mem_heads, c.chunk
    heads = lambda x: x.view(b, t, h, -1).transpose(1, 2)  # [batch, heads, time, ..]
    q, k, v = (heads(F.linear(n, w[p + x + "_proj.weight"])) for x in "qkv")
    q, k = q / (q.norm(dim=-1, keepdim=True) + 1e-6), k / (k.norm(dim=-1, keepdim=True) + 1e-6)
    gate = lambda name: F.linear(n, w[p + name + ".weight"], w[p + name + ".bias"])
    rate = F.softplus(gate("lr_proj")).view(b, t, 3, h).permute(2, 0, 3, 1)[..., None]
    keep = heads(torch.sigmoid(gate("momentum_proj")))
    start = [w[p + x][None] for x in ("w0", "w1", "w2")]
    scale = [x.norm(dim=-1, keepdim=True) for x in start]
    net = [x.expand(b, -1, -1, -1) for x in start]
    momentum, out = [0, 0, 0], []
    for at in range(0, t, size):
        cut = slice(at, at + size)
        x = q[:, :, cut]
        w0, w1, w2 = (x.transpose(-1, -2) for x in net)
        out.append(x + (F.silu(x @ w0) * (x @ w2)) @ w1)
        if at + size > t:
            break
        net = [x / (x.norm(dim=-1, keepdim=True) + 1e-5) * s for x, s in zip(net, scale)]
        w0, w1, w2 = (x.transpose(-1, -2) for x in net)
        x, r = k[:, :, cut], rate[:, :, :, cut]
        a, up = x @ w0, x @ w2
        s = torch.sigmoid(a)
        u = a * s * up
        e = x + u @ w1 - v[:, :, cut]  # the loss is |e|²/2
        du = e @ net[1]
        da, db = du * up * s * (1 + a * (1 - s)), du * a * s
        grads = [(r[0] * da).mT @ x, (r[1] * e).mT @ u, (r[2] * db).mT @ x]
        stay = keep[:, :, cut].mean(2, keepdim=True)
        momentum = [stay * m + g for m, g in zip(momentum, grads)]
        net = [x - m for x, m in zip(net, momentum)]
    o = rms(torch.cat(out, 2).transpose(1, 2), w[p + "out_norm.weight"])
    return F.linear(o.flatten(2), w[p + "o_proj.weight"])


def logits(tokens, w):
    x = w["model.embed_tokens.weight"][tokens]
    for i in range(c.num_hidden_layers):
        p = f"model.layers.{i}."
        n = rms(x, w[p + "input_layernorm.weight"])
        y = x + attention(n, w, p + "self_attn.")
        if i in c.mem_layers:
            y = y + w[p + "mem.alpha"] * memory(n, w, p + "mem.")
        n = rms(y, w[p + "post_attention_layernorm.weight"])
        mlp = lambda x, name: F.linear(x, w[p + "mlp." + name + "_proj.weight"])
        x = y + mlp(F.silu(mlp(n, "gate")) * mlp(n, "up"), "down")
    return F.linear(rms(x, w["model.norm.weight"]), w["model.embed_tokens.weight"])


def bits(tokens, w):
    """Bits per byte of a batch of streams, first bytes apart."""
    l = logits(tokens[:, :-1], w)
    return F.cross_entropy(l.flatten(0, 1), tokens[:, 1:].flatten()) / math.log(2)


def begin():
    """Weights to begin with."""
    hidden, d, inner = c.hidden_size, c.head_dim, c.intermediate_size
    h, a, f = c.mem_heads, c.mem_head_dim, c.mem_hidden
    heads, groups = c.num_attention_heads * d, c.num_key_value_heads * d
    layer = {
        "input_layernorm.weight": [hidden], "post_attention_layernorm.weight": [hidden],
        "self_attn.q_proj.weight": [heads, hidden], "self_attn.k_proj.weight": [groups, hidden], "self_attn.v_proj.weight": [groups, hidden],
        "self_attn.q_norm.weight": [d], "self_attn.k_norm.weight": [d], "self_attn.o_proj.weight": [hidden, heads],
        "mlp.gate_proj.weight": [inner, hidden], "mlp.up_proj.weight": [inner, hidden], "mlp.down_proj.weight": [hidden, inner],
    }
    mem = {
        "q_proj.weight": [h * a, hidden], "k_proj.weight": [h * a, hidden], "v_proj.weight": [h * a, hidden],
        "lr_proj.weight": [3 * h, hidden], "lr_proj.bias": [3 * h], "momentum_proj.weight": [h, hidden], "momentum_proj.bias": [h],
        "w0": [h, f, a], "w1": [h, a, f], "w2": [h, f, a], "out_norm.weight": [a], "o_proj.weight": [hidden, h * a], "alpha": [hidden],
    }
    shapes = {"model.embed_tokens.weight": [c.vocab_size, hidden], "model.norm.weight": [hidden]}
    for i in range(c.num_hidden_layers):
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layer.items()}
        if i in c.mem_layers:
            shapes |= {f"model.layers.{i}.mem.{name}": shape for name, shape in mem.items()}
    vectors = {"lr_proj.bias": -3, "momentum_proj.bias": 0, "mem.alpha": 0.5}
    gains = {"embed_tokens": 0.5, "o_proj": 0.4, "down_proj": 0.4, "lr_proj": 0.1, "momentum_proj": 0.1}
    pick = lambda table, name: next((x for end, x in table.items() if end in name), 1)
    w = {}
    for name, shape in sorted(shapes.items()):
        if len(shape) == 1:
            w[name] = torch.full(shape, float(pick(vectors, name)))
        else:
            w[name] = torch.randn(shape) * pick(gains, name) / math.sqrt(shape[-1])
    return {name: x.requires_grad_() for name, x in w.items()}


def corpus(held_out):
    """The repository's text, without lines that share 40 bytes with the held-out
    one: prose (documents and comments) and code."""
    prose, code = [], []
    runs = {held_out[i : i + 40] for i in range(len(held_out) - 39)}
    files = tarfile.open(fileobj=io.BytesIO(subprocess.check_output(["git", "-C", here.parents[1], "archive", COMMIT])))
    for file in sorted(files.getmembers(), key=lambda x: x.name):
        kind = pathlib.Path(file.name).suffix
        if file.name == HELD_OUT or kind not in (".md", ".go", ".spec"):
            continue
        text = files.extractfile(file).read()
        lines = text.split(b"\n")
        text = b"\n".join(l for l in lines if not any(l[i : i + 40] in runs for i in range(len(l) - 39)))
        if kind == ".md":
            prose.append(text)
        else:
            code.append(text)
            for block in re.findall(rb"(?:^[\t ]*(?://|#) .*\n)+", text, re.M):
                prose.append(re.sub(rb"\n?[\t ]*(?://|#) ", b" ", block).strip() + b"\n")
    as_bytes = lambda texts: torch.frombuffer(bytearray(b"\n".join(texts)), dtype=torch.uint8)
    return as_bytes(prose), as_bytes(code)


def train(steps):
    torch.manual_seed(1)
    prose, code = corpus((here / "text.txt").read_bytes())
    print(f"{len(prose)} bytes of prose, {len(code)} of code")
    w = begin()
    wide = {name: name.endswith("_proj.weight") and x.shape[0] >= 64 for name, x in w.items()}  # no gates
    matrices, others = [w[name] for name in w if wide[name]], [w[name] for name in w if not wide[name]]
    optimisers = {
        torch.optim.Muon(matrices, weight_decay=0.02, adjust_lr_fn="original"): 0.02,
        torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0): 0.004,
    }
    start, mean = time.time(), 8.0
    for step in range(steps):
        streams = []
        for row in range(BATCH):
            text = code if row == 0 else prose
            at = torch.randint(len(text) - STREAM, ())
            streams.append(text[at : at + STREAM + 1])
        loss = bits(torch.stack(streams).long(), w)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(w.values(), 1)
        for o, most in optimisers.items():
            o.param_groups[0]["lr"] = most * min((step + 1) / 50, 0.01 + 0.99 * (1 - step / steps))
            o.step()
            o.zero_grad()
        mean += (loss.item() - mean) * 0.02
        if step % 100 == 99:
            print(f"step {step + 1}: {mean:.3f} bits per byte, {time.time() - start:.0f} s", flush=True)
    return w


def save(w, path):
    head, data = {}, b""
    for name, x in w.items():
        raw = x.detach().bfloat16().view(torch.int16).numpy().tobytes()
        head[name] = {"dtype": "BF16", "shape": list(x.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(head).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def load(path):
    raw = bytearray(path.read_bytes())
    size = 8 + struct.unpack("<Q", raw[:8])[0]
    data = {name: (x["shape"], raw[size:][slice(*x["data_offsets"])]) for name, x in json.loads(raw[8:size]).items()}
    return {name: torch.frombuffer(x, dtype=torch.bfloat16).view(shape).float() for name, (shape, x) in data.items()}


def main():
    args = argparse.ArgumentParser(description="Trains the model of this folder.")
    args.add_argument("--check", action="store_true", help="train nothing: bits per byte of text.txt alone")
    args.add_argument("--steps", type=int, default=STEPS)
    args = args.parse_args()
    torch.set_num_threads(1)
    file = here / "model.safetensors"
    if not args.check:
        save(train(args.steps), file)
    w = load(file)
    text = torch.frombuffer(bytearray((here / "text.txt").read_bytes()), dtype=torch.uint8).long()[None]
    with torch.no_grad():
        print(f"{sum(x.numel() for x in w.values())} weights: {bits(text, w):.4f} bits per byte of text.txt")


main()
