package amd64
import ("testing";"strings")
const attFull = `kernel attend2(b0: f32[512,256], b1: f32[25,2,64,128]/32, b2: f32[25,2,64,128], b3: f32[512,256] write) ints(n, pos) {
  tile t0: f32[64,128] rows min(64, n - g1)
  tile t1: f32[64,128] rows min(64, n - g1)
  tile t2: f32[64,128] rows min(64, n - g1)
  tile t3: f32[64,1] rows min(64, n - g1)
  tile t4: f32[64,1] rows min(64, n - g1)
  tile t5: f32[128,64]
  tile t6: f32[64,128]
  tile t7: f32[64,64] rows min(64, n - g1)
  tile t8: f32[64,1] rows min(64, n - g1)
  tile t9: f32[64,1] rows min(64, n - g1)
  tile t10: f32[64,1] rows min(64, n - g1)
  tile t11: f32[64,1] rows min(64, n - g1)
  tile t12: f32[64,128] rows min(64, n - g1)
  part grid(g0: 2 step 1, g1: n step 64) {
    t0 = load b0[g1 + r, c + g0 * 128] // attend.spec:11 input
    t1 = map t0 * 0.088388346 // attend.spec:13 attend
    t2 = map 0 // attend.spec:13 attend
    t3 = map -1e+30 // attend.spec:13 attend
    t4 = map 0 // attend.spec:13 attend
    for kb = max(0, (pos + g1 - 1024 + 1) div 64) to (pos + g1 + (min(64, n - g1) - 1)) div 64 + 1 step 1 stages 2 {
      when !(!(kb * 64 <= pos + g1 + (min(64, n - g1) - 1)) || !(pos + g1 - (kb * 64 + 63) < 1024) && !(kb * 64 < 0)) {
        t5 = load b1[kb mod 25, g0, c, r] // attend.spec:13 attend
        t6 = load b2[kb mod 25, g0, r, c] // attend.spec:13 attend
        t7 = dot(t1, t5) // attend.spec:13 attend
        when !(kb * 64 + 63 <= pos + g1 && (pos + g1 + (min(64, n - g1) - 1) - kb * 64 < 1024 || kb * 64 + 63 < 0)) {
          t7 = map choose(test(kb * 64 + c <= pos + g1 + r && (pos + g1 + r - (kb * 64 + c) < 1024 || kb * 64 + c < 0)), t7, -inf) // attend.spec:13 attend
        }
        t8 = largest(t7 over cols) // attend.spec:13 attend
        t9 = map max(t3, t8) // attend.spec:13 attend
        t10 = map exp(t3 - t9) // attend.spec:13 attend
        t7 = map exp(t7 - t9) // attend.spec:13 attend
        t11 = sum(t7 over cols) // attend.spec:13 attend
        t4 = map t4 * t10 + t11 // attend.spec:13 attend
        t2 = map t2 * t10 // attend.spec:13 attend
        t2 += dot(t7, t6) // attend.spec:13 attend
        t3 = map t9 // attend.spec:13 attend
      }
    }
    t12 = map choose(0 < t4, t2 / t4, 0) // attend.spec:13 attend
    store b3[g1 + r, c + g0 * 128] = t12 // attend.spec:13 attend
  }
}
`
func drop(t string, subs ...string) string { var out []string
 for _, l := range strings.Split(t,"\n") { keep:=true; for _, s := range subs { if strings.Contains(l,s) {keep=false} }; if keep {out=append(out,l)} }
 return strings.Join(out,"\n") }
func BenchmarkY(b *testing.B) {
	samek := strings.NewReplacer("t4 = load b1[kb mod 25", "t4 = load b1[kb mod 1","t5 = load b2[kb mod 25", "t5 = load b2[kb mod 1").Replace(attFull)
	for _, c := range []struct{name, text string}{
		{"full", attFull},
		{"samekv", samek},
		{"dotsonly", drop(attFull,"t6 = map", "t7 = map","t8 = l","t9 = map","t10 = map","t11 =","t3 = map t3","t1 = map t1","t2 = map t9")},
		{"dotsonlysamekv", drop(samek,"t6 = map", "t7 = map","t8 = l","t9 = map","t10 = map","t11 =","t3 = map t3","t1 = map t1","t2 = map t9")},
		{"norescale", drop(attFull,"t1 = map t1")},
		{"nomaxsum", drop(attFull,"t7 = l","t8 = l","t10 = s","t11 = s")},
	} {
		m := machines(b)[0]
		k := parse(b, c.text)[0]
		b.Run(c.name, func(b *testing.B) {
			timed(b, m, k, 512, []int64{512, 8192}, 2*512*17*64*4*128, 0)
		})
	}
}
