package sim

// Instructions of control: branches, ends, barriers, fences.

func (x *build) bra() {
	x.has("uni")
	x.plain()
	if !x.wants(1) {
		return
	}
	o := x.ops[0]
	if o.kind != isName {
		x.fail("%s is no label", o.text)
	}
	x.in.kind = branches
	x.jumps = append(x.jumps, jump{len(x.code), o.text, x.token})
}

func (x *build) ret() {
	x.has("uni")
	x.plain()
	x.wants(0)
	x.in.kind = ends
}

func (x *build) trap() {
	x.plain()
	x.wants(0)
	x.in.run = func(w *warp, _ *inst, m uint32) { w.fail(m, "the program stops itself") }
}

// fence orders one thread's accesses, which they are here; it does not order
// threads (shadow.go).
func (x *build) fence() {
	x.drop("cta", "gl", "sys", "gpu", "cluster", "sc", "acq_rel", "proxy", "async", "alias", "shared::cta", "global")
	x.plain()
	x.wants(0)
	x.in.run = func(*warp, *inst, uint32) {}
}

// bar is bar{.cta}.sync and .arrive, bar.warp.sync, and barrier{.cta}. of the
// same, which are aligned or not: a warp comes to it whole here (PTX ISA, "bar,
// barrier", "bar.warp.sync").
func (x *build) bar() {
	if x.name == "bar" && x.has("warp") {
		x.warpBarrier()
		return
	}
	x.drop("cta")
	if x.name == "barrier" {
		x.drop("aligned")
	}
	arrives := x.has("arrive")
	if !arrives && !x.has("sync") {
		x.unknown()
	}
	x.plain()
	n := len(x.ops)
	if n < 1 || n > 2 || arrives && n != 2 {
		x.fail("it takes a barrier and a number of threads, not %d operands", n)
		return
	}
	x.in.kind, x.in.run, x.in.b = barriers, arrive, -1
	if arrives {
		x.in.flags = 1
	}
	x.in.a = x.src(0, bits32)
	if n == 2 {
		x.in.b = x.src(1, bits32)
	}
}

func (x *build) warpBarrier() {
	if !x.is("sync") {
		x.unknown()
	}
	if x.wants(1) {
		x.in.kind, x.in.c = meets, x.src(0, bits32)
	}
}

// prefetch has no effect here, nor has one of an address that is in no allocation
// on a GPU.
func (x *build) prefetch() {
	x.drop("global", "L1", "L2", "L2::evict_last", "L2::evict_normal")
	x.plain()
	if x.wants(1) {
		x.memory(0)
		x.in.run = func(*warp, *inst, uint32) {}
	}
}
