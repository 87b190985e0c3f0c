package frontend

import "testing"

func TestParseSketch(t *testing.T) {
	d := &Diagnostics{}
	f := parse("a.spec", `
# doc
import "lib/qwen3.spec"
clock t
param window, sinks: int = 0
param mem_layers: [int] = 0..num_hidden_layers
dim h = mem_heads, a = mem_head_dim
type Net = { w0[h, f, a], w1[h, a, f] }
fn net(w: Net, x[t, h, a]) = x + w.w1 @ (silu(w.w0 @ x) * (w.w2 @ x))
fn rms[d](x[.., d], name: string, eps: float = 1e-6) = x * rsqrt(mean(x * x over d) + eps) * weight(name + ".weight")[d] init ones
memory Mem(n[t, hidden_size]) where m chunk chunk of t {
  state w: Net = weight(Net) init normal(fan_in)
  state g[m: global_mem_size, hidden_size] len ng = empty
  q, k = l2n(linear(n, "q_proj") as [t, h, a]), l2n(n)
  read o = net(w, q)
  write {
    u = each (x, x0) in (w, initial w): x / (norm(x over last) + 1e-5) * norm(x0 over last)
    ell[t, h] = 0.5 * norm2(net(u, k) - v over a)
    g = grad(ell, u) per t
    m = each i, (mi, gi) in (m, g): mean_t(keep) * mi + sum_t(rate[s: i] * gi)
    if a < b { w = u - m } else { w = 3 }
    probe inner_loss = mean(ell)
    for i in 0..3 {
      x = i
    }
  }
  return linear(rms_norm(o, "out_norm") as [t, h*a], "o_proj")
}
rows r from t every C {
  group S { text; beacon }
  end { globals[G] }
}
entry forward(tokens i32[t]) -> logits f32[t, vocab_size] =
  head(repeat Block(embed(tokens), i) over "model.layers.{i}" for i in 0..n)
`, d)
	if d.faulty() {
		t.Fatal(d.Error())
	}
	if len(f.decls) != 11 {
		t.Fatal(len(f.decls))
	}
}
