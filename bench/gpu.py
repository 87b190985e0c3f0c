"""Times memc on an NVIDIA GPU beside PyTorch on the same one, and prints a
table: products beside torch.matmul, window attention beside FlexAttention, a
memory beside torch.compile of LaCT's loop, decoding beside the memory's speed.

    make bench-gpu                     # all of it
    python3 bench/gpu.py --only attend # a part
    python3 bench/gpu.py --try         # small sizes, to try the script itself

It needs bin/memc (make build) and a GPU that memc runs on; the peers need
PyTorch with CUDA. What cannot be run is said in its place: no row is left out,
and no figure is filled in.

Seconds of memc's products, attention and memory are those of its kernels, by
events around each launch, as the inputs of the peers lie on the GPU too; those
of decoding are of whole calls. memc reads and writes f32 rows, with weights or
keys and values in bf16, and rounds the operands of products to bf16 (--products);
the peers' tensors are bf16 throughout. Operations are
those that the mathematics needs, counted by memc, for both.
"""

import argparse
import json
import statistics
import subprocess
import sys

MEMC = "bin/memc"


def memc(*args):
    """The JSON that a memc command prints, or a RuntimeError that says why not."""
    try:
        done = subprocess.run([MEMC, "--json", *map(str, args)], capture_output=True, text=True, timeout=1800)
    except FileNotFoundError:
        raise RuntimeError(f"{MEMC} is not here: make build") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError("memc took longer than half an hour") from None
    if done.returncode != 0:
        raise RuntimeError(" ".join(done.stderr.split()) or f"memc ends with code {done.returncode}")
    return json.loads(done.stdout)


def settings(**values):
    return [x for k, v in values.items() for x in ("--set", f"{k}={json.dumps(v)}")]


def kernels(target, spec, tokens, slab, *more):
    """Seconds on the GPU, and operations, of one call."""
    r = memc("bench", spec, "--target", target, "--tokens", tokens, "--slab", slab, "--repeat", 5, "--products", "bf16", *more)
    if r.get("check", {}).get("rows", 0) == 0:
        raise RuntimeError("memc has not compared its results: " + r.get("check", {}).get("why", "no reason given"))
    return sum(k["seconds"] for k in r["kernels"]), r["flops"]


# Peers. Each gives a function that does the work once.


def product(m, k, n):
    import torch

    x, w = torch.randn(m, k, device="cuda", dtype=torch.bfloat16), torch.randn(n, k, device="cuda", dtype=torch.bfloat16)
    return lambda: torch.matmul(x, w.T)


def attention(tokens, heads, dim, window):
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q, k, v = (torch.randn(1, heads, tokens, dim, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    mask = create_block_mask(lambda b, h, i, j: (j <= i) & (i - j < window), None, None, tokens, tokens, device="cuda")
    compiled = torch.compile(flex_attention)
    return lambda: compiled(q, k, v, block_mask=mask)


def lact(sequences, heads, dim, hidden, chunk, tokens):
    """LaCT's loop over chunks by its paper's equations (arXiv 2505.23884: the
    dot-product loss of a SwiGLU network, rates for each token, rows scaled back to
    their norms; without momentum and Muon), a chunk at a time in bf16."""
    import torch
    from torch.nn import functional as F

    n = sequences * heads
    q, k, v = (F.normalize(torch.randn(n, tokens, dim, device="cuda"), dim=-1).bfloat16() for _ in range(3))
    rates = torch.rand(3, n, tokens, 1, device="cuda").bfloat16() * 1e-2
    start = [torch.randn(n, a, b, device="cuda") * b**-0.5 for a, b in ((hidden, dim), (dim, hidden), (hidden, dim))]
    norms = [w.norm(dim=-1, keepdim=True) for w in start]

    def step(w0, w1, w2, q, k, v, rates):
        b0, b1, b2 = w0.bfloat16(), w1.bfloat16(), w2.bfloat16()
        read = (F.silu(q @ b0.mT) * (q @ b2.mT)) @ b1.mT
        a, b = k @ b0.mT, k @ b2.mT
        gate = torch.sigmoid(a)
        silu = a * gate
        d = v @ b1
        da, db = d * b * (gate + silu * (1 - gate)), d * silu
        grads = (rates[0] * da).mT @ k, (rates[1] * v).mT @ (silu * b), (rates[2] * db).mT @ k
        new = [w + g.float() for w, g in zip((w0, w1, w2), grads)]
        return read, *(w / (w.norm(dim=-1, keepdim=True) + 1e-5) * m for w, m in zip(new, norms))

    compiled = torch.compile(step)

    def run():
        w, out = start, []
        for t in range(0, tokens, chunk):
            cut = slice(t, t + chunk)
            read, *w = compiled(*w, q[:, cut], k[:, cut], v[:, cut], rates[:, :, cut])
            out.append(read)
        return torch.cat(out, 1)

    return run


def timed(make, *sizes):
    """The median seconds of a peer's work, by events on the GPU."""
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU")
    with torch.no_grad():
        run = make(*sizes)
        for _ in range(3):
            run()
        took = []
        while len(took) < 7 or sum(took) < 1 and len(took) < 100:
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            run()
            b.record()
            b.synchronize()
            took.append(a.elapsed_time(b) / 1e3)
    torch.cuda.empty_cache()
    return statistics.median(took)


def copying():
    """Bytes that the GPU reads and writes in a second while it copies."""
    import torch

    def make(n):
        x, y = torch.empty(n, device="cuda", dtype=torch.uint8), torch.empty(n, device="cuda", dtype=torch.uint8)
        return lambda: y.copy_(x)

    return 2 * (1 << 31) / timed(make, 1 << 31)


def attempt(f, *args):
    """(what f gives, "") or (None, why not)."""
    try:
        return f(*args), ""
    except Exception as e:  # every reason is printed
        text = f"{type(e).__name__}: {e}" if not isinstance(e, RuntimeError) else str(e)
        return None, " ".join(text.split())[:300]


class Table:
    def __init__(self, title, *columns):
        self.notes = []
        print(f"\n{title}\n\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))

    def row(self, *cells):
        print("| " + " | ".join(cells) + " |", flush=True)

    def missing(self, what, why):
        """A cell for what was not run; why is told below the table."""
        note = f"{what}: {why}"
        if note not in self.notes:
            self.notes.append(note)
        return f"not run [{self.notes.index(note) + 1}]"

    def end(self):
        for i, note in enumerate(self.notes):
            print(f"\n[{i + 1}] {note}")


def beside(table, work, sizes, aim, targets, ours, peer_name, peer):
    """The rows of one piece of work: ours(target) gives (seconds, operations)."""
    theirs, why = attempt(timed, *peer)
    for target in targets:
        got, no = attempt(ours, target)
        cells = [work, sizes, target]
        cells += [f"{1e3 * got[0]:.3f}", f"{got[1] / got[0] / 1e12:.1f}"] if got else [table.missing(f"memc {target}", no), ""]
        cells.append(peer_name)
        if theirs is None:
            cells += [table.missing(peer_name, why), "", ""]
        else:
            cells.append(f"{1e3 * theirs:.3f}")
            cells += [f"{got[1] / theirs / 1e12:.1f}", f"{theirs / got[0]:.2f}"] if got else ["", ""]
        table.row(*cells, aim)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", choices=["contract", "attend", "recur", "decode"], help="one part")
    p.add_argument("--target", action="append", help="memc's targets; without it those of sm_80 and sm_90a that run here")
    p.add_argument("--try", dest="small", action="store_true", help="small sizes, to try the script itself")
    o = p.parse_args()
    here, why = attempt(memc, "targets")
    if here is None:
        sys.exit(f"nothing is timed: {why}")
    gpus = ", ".join(f"{g['name']}, compute capability {g['compute_capability']}" for g in here["gpus"]) or "none: " + here.get("no_gpu", "")
    print(f"GPU: {gpus}")
    if here.get("cuda_driver"):
        print(f"driver: CUDA {here['cuda_driver']}")
    versions, why = attempt(lambda: __import__("torch"))
    print(f"PyTorch: {versions.__version__ if versions else 'none: ' + why}")
    runs = {t["target"]: t for t in here["targets"]}
    targets = o.target or [t for t in ("sm_80", "sm_90a") if runs[t]["runs"]]
    if not targets:
        sys.exit("nothing is timed: " + "; ".join(f"{t}: {runs[t].get('missing', 'it does not run here')}" for t in ("sm_80", "sm_90a")))
    small = o.small

    def wanted(part):
        return o.only in (None, part)

    columns = "work", "sizes", "target", "memc ms", "TFLOP/s", "peer", "peer ms", "TFLOP/s", "peer's time by memc's", "aim"
    table = Table("Kernels, of one call", *columns)
    if wanted("contract"):
        for m, k, n in [(64, 64, 64)] if small else [(8192, 8192, 8192), (4096, 1024, 3072)]:
            beside(
                table, "product, bf16 weights", f"{m}x{k}x{n}", "0.60 (sm_90a with wgmma 0.90)", targets,
                lambda t, m=m, k=k, n=n: kernels(t, "specs/bench/contract.spec", m, m, *settings(K=k, N=n, weights="bf16")),
                "torch.matmul", (product, m, k, n),
            )
    if wanted("attend"):
        for tokens, window, dim in [(256, 32, 16)] if small else [(t, w, d) for t in (16384, 32768) for w in (1024, 4096) for d in (64, 128)]:
            beside(
                table, "window attention, bf16 keys and values", f"T {tokens}, W {window}, 16 heads of {dim}", "1.00", targets,
                lambda t, n=tokens, w=window, d=dim: kernels(
                    t, "specs/bench/attend.spec", n, min(n, 4096), "--cache", "bf16", *settings(heads=16, kv_heads=16, head_dim=d, window=w)
                ),
                "FlexAttention", (attention, tokens, 16, dim, window),
            )
    if wanted("recur"):
        sequences, heads, dim, chunk, tokens = (2, 2, 16, 32, 128) if small else (16, 4, 256, 2048, 32768)
        beside(
            table, "memory", f"{sequences} sequences x {heads} heads, {dim}x{dim}, chunk {chunk}, T {tokens}", "2.00", targets,
            lambda t: kernels(t, "specs/bench/recur.spec", tokens, chunk, *settings(heads=sequences * heads, dim=dim, hidden=dim, chunk=chunk)),
            "torch.compile of LaCT's loop", (lact, sequences, heads, dim, dim, chunk, tokens),
        )
    table.end()
    if wanted("decode"):
        speed, why = attempt(copying)
        table = Table("Decoding with a model of 0.6 billion weights, of whole calls", "streams", "target", "tokens/s", "GB/s", "of copying", "aim")
        model = ["specs/bench/contract.spec", *settings(K=64, N=64)] if small else [
            "specs/allmem.spec", "--config", "bench/qwen3-0.6b-allmem.json", *settings(window=[4096, 0], weights="bf16"), "--cache", "bf16", "--at", 8192,
        ]
        for streams in (1, 32):
            for target in targets:
                got, no = attempt(memc, "bench", *model, "--target", target, "--decode", 8 if small else 64, "--batch", streams, "--products", "bf16", "--check", 2)
                if got is None:
                    table.row(str(streams), target, table.missing(f"memc {target}", no), "", "", "")
                    continue
                rate = got["gbytes_per_second"] * 1e9
                share = table.missing("copying", why) if speed is None else f"{100 * rate / speed:.0f} %"
                cells = [f"{rate / 1e9:.0f}", share, "70 %"] if streams == 1 else ["", "", ""]
                table.row(str(streams), target, f"{got['tokens_per_second']:.0f}", *cells)
        table.end()


if __name__ == "__main__":
    main()
