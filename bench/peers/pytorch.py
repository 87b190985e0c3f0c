"""PyTorch on the CPU. Prints a line about itself, then reads questions, one a
line, and answers each with "ok MEDIAN MIN MAX RUNS HOW" (seconds) or "no
REASON":

    product type=f32 m=512 k=1024 n=3072
    chain type=bf16 m=1 k=2048 layers=64
    attend heads=8 kv_heads=2 head_dim=64 window=1024 sinks=16 tokens=8192
    recur heads=4 dim=256 hidden=256 chunk=512 tokens=8192

Where there are several ways to write it, each is tried, and the fastest one
whose result is right is the answer; HOW names it.
"""

import math
import os
import sys
import time

import torch
from torch.nn import functional as F


def draw(*shape):
    return torch.rand(*shape)


def product(m, k, n, type):
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[type]
    x, w = draw(m, k).to(dtype), draw(n, k).to(dtype)
    return {"linear": lambda: F.linear(x, w)}, None


def chain(m, k, layers, type):
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[type]
    start, weights = draw(m, k).to(dtype), [((draw(k, k) * 2 - 1) * math.sqrt(3 / k)).to(dtype) for _ in range(layers)]

    def run():
        x = start
        for w in weights:
            x = F.linear(x, w)
        return x

    return {"linear": run}, None


# Window attention: row i sees the rows j <= i with i - j < window or j < sinks.


def sees(i, j, window, sinks):
    return (j <= i) & ((i - j < window) | (j < sinks))


def attend(heads, kv_heads, head_dim, window, tokens, sinks=0):
    q, k, v = draw(1, heads, tokens, head_dim), draw(1, kv_heads, tokens, head_dim), draw(1, kv_heads, tokens, head_dim)
    scale, group = head_dim**-0.5, heads // kv_heads

    def blocks(size):
        """(rows, keys, mask added to the scores) of each block of queries. Blocks
        behind the first window share one mask."""
        out, last = [], {}
        for a in range(0, tokens, size):
            b = min(a + size, tokens)
            lo = max(a - window + 1, 0)
            apart = lo > sinks  # the sinks are before the window, and stand apart
            i, j = torch.arange(a, b)[:, None], torch.arange(lo, b)[None]
            if apart:
                j = torch.cat([torch.arange(sinks)[None], j], 1)
            key = (apart, b - a, j.shape[1])
            if not apart or key not in last:
                last[key] = torch.where(sees(i, j, window, sinks), 0.0, -math.inf)
            out.append((slice(a, b), slice(lo, b), apart and sinks > 0, last[key]))
        return out

    def keys(x, cut, apart):
        x, first = x[:, :, cut], x[:, :, :sinks]
        return torch.cat([first, x], 2) if apart else x

    def sdpa(size):
        parts = blocks(size)

        def run():
            out = torch.empty_like(q)
            for rows, cut, apart, mask in parts:
                out[:, :, rows] = F.scaled_dot_product_attention(
                    q[:, :, rows], keys(k, cut, apart), keys(v, cut, apart), attn_mask=mask, enable_gqa=group > 1)
            return out

        return run

    def matmul(size):
        parts = blocks(size)

        def run():
            out = torch.empty_like(q)
            for rows, cut, apart, mask in parts:
                n = mask.shape[0]
                x = q[0, :, rows].reshape(kv_heads, group * n, head_dim)
                kk, vv = keys(k, cut, apart)[0], keys(v, cut, apart)[0]
                s = torch.baddbmm(mask.repeat(group, 1)[None], x, kk.transpose(1, 2), alpha=scale)
                out[0, :, rows] = torch.bmm(torch.softmax(s, -1), vv).view(heads, n, head_dim)
            return out

        return run

    def flex():
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        mask = create_block_mask(lambda b, h, i, j: sees(i, j, window, sinks), None, None, tokens, tokens, device="cpu")
        compiled = torch.compile(flex_attention)
        return lambda: compiled(q, k, v, block_mask=mask, enable_gqa=group > 1)

    ways = {f"SDPA in blocks of {n}": sdpa(n) for n in (128, 256, 512)}
    ways |= {f"matmul and softmax in blocks of {n}": matmul(n) for n in (64, 128, 256)}
    try:
        ways["flex_attention"] = flex()
    except Exception as e:
        print("flex_attention:", e, file=sys.stderr)

    def reference():  # of some rows, in double
        i = torch.tensor([0, 1, window - 1, window, tokens // 2, tokens - 1]).clamp(max=tokens - 1)
        s = (q[0, :, i].double() @ k[0].double().repeat_interleave(group, 0).transpose(1, 2)) * scale
        s = s.masked_fill(~sees(i[:, None], torch.arange(tokens)[None], window, sinks), -math.inf)
        return lambda got: (got[0, :, i], torch.softmax(s, -1) @ v[0].double().repeat_interleave(group, 0))

    return ways, reference()


# A memory: a small network per head, whose weights follow the gradient of
# 0.5 * |net(k) - v|^2, as in specs/bench/recur.spec.


def net(w0, w1, w2, x):
    return x + (F.silu(x @ w0.mT) * (x @ w2.mT)) @ w1.mT


def recur(heads, dim, hidden, chunk, tokens):
    q, k, v = (draw(heads, tokens, dim) for _ in range(3))
    rates, keep = draw(3, heads, tokens, 1), draw(heads, tokens, 1)
    start = [torch.randn(heads, hidden, dim) * dim**-0.5, torch.randn(heads, dim, hidden) * hidden**-0.5, torch.randn(heads, hidden, dim) * dim**-0.5]

    def write(w, m, norms, k, v, rates, keep):
        u0, u1, u2 = (x / (x.norm(dim=-1, keepdim=True) + 1e-5) * n for x, n in zip(w, norms))
        a, b = k @ u0.mT, k @ u2.mT  # [h, t, hidden]
        g = torch.sigmoid(a)
        s = a * g
        p = s * b
        r = torch.baddbmm(k - v, p, u1.mT)  # [h, t, dim]
        dp = r @ u1
        da, db = dp * b * (g + s * (1 - g)), dp * s
        grads = (rates[0] * da).mT @ k, (rates[1] * r).mT @ p, (rates[2] * db).mT @ k
        m = [keep.mean(1, keepdim=True) * x + y for x, y in zip(m, grads)]
        return [u - x for u, x in zip((u0, u1, u2), m)], m

    def loop(write, net, w, cast=lambda x: x):
        norms = [x.norm(dim=-1, keepdim=True) for x in w]
        m, out = [torch.zeros_like(x) for x in w], []
        for t in range(0, tokens, chunk):
            cut = slice(t, t + chunk)
            out.append(net(*w, cast(q[:, cut])))
            if t + chunk <= tokens:
                w, m = write(w, m, norms, *(cast(x[:, cut]) for x in (k, v)), cast(rates[:, :, cut]), cast(keep[:, cut]))
        return torch.cat(out, 1)

    def derived(w, m, norms, k, v, rates, keep):  # the same by autograd, for the check
        u = [(x / (x.norm(dim=-1, keepdim=True) + 1e-5) * n).requires_grad_() for x, n in zip(w, norms)]
        with torch.enable_grad():
            grads = [torch.autograd.grad((rate * 0.5 * (net(*u, k) - v) ** 2).sum(), x)[0] for rate, x in zip(rates, u)]
        m = [keep.mean(1, keepdim=True) * x + y for x, y in zip(m, grads)]
        return [(x - y).detach() for x, y in zip(u, m)], m

    ways = {"as written": lambda: loop(write, net, start)}
    fast, faster = torch.compile(write), torch.compile(net)
    ways["torch.compile"] = lambda: loop(fast, faster, start)
    want = loop(derived, net, [x.double() for x in start], lambda x: x.double())
    return ways, lambda got: (got, want)


def once(run):
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def right(run, check):
    if check is None:
        return run() is not None
    got, want = check(run())
    return bool((got.double() - want).norm() <= 1e-3 * want.norm())


def fastest(line):
    """The fastest right way to do the work, as (name, function), or a reason."""
    what, *words = line.split()
    sizes = {k: int(v) if v.isdigit() else v for k, v in (w.split("=") for w in words)}
    if what not in ("product", "chain", "attend", "recur"):
        return None, "it does not know this work"
    if sizes.get("type") not in (None, "f32", "bf16"):
        return None, "it is asked for f32 and bf16 alone"
    ways, check = globals()[what](**sizes)
    best, how, why = math.inf, None, []
    for name, run in ways.items():
        try:
            if not right(run, check):
                why.append(f"{name} gives something else")
                continue
            took = min(once(run) for _ in range(3))
        except Exception as e:
            why.append(f"{name}: {type(e).__name__}: {e}".replace("\n", " "))
            continue
        if took < best:
            best, how = took, name
    for reason in why:
        print(reason, file=sys.stderr)
    return how, ways[how] if how else "; ".join(why)


last = {}  # the last question's answer: the same one may come again


def answer(line):
    if line not in last:
        last.clear()
        last[line] = fastest(line)
    how, run = last[line]
    if how is None:
        return "no " + run
    seconds = []
    while len(seconds) < 8 or sum(seconds) < 0.5 and len(seconds) < 1000:
        seconds.append(once(run))
    seconds = sorted(seconds[1:])
    return f"ok {seconds[len(seconds) // 2]:.9f} {seconds[0]:.9f} {seconds[-1]:.9f} {len(seconds)} {how}"


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count())
    torch.manual_seed(1)
    print(f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads", flush=True)
    with torch.no_grad():
        for line in sys.stdin:
            if line.strip():
                print(answer(line), flush=True)


if __name__ == "__main__":
    main()
