package sim

// opcodes compile the instructions, by the first part of the mnemonic.
var opcodes map[string]func(x *build)

func init() {
	opcodes = map[string]func(x *build){
		"mov": (*build).mov, "cvta": (*build).cvta, "cvt": (*build).cvt, "selp": (*build).selp, "setp": (*build).setp,
		"add": (*build).add, "sub": (*build).sub, "mul": (*build).mul, "mad": (*build).mad, "fma": (*build).fma,
		"div": (*build).div, "rem": (*build).rem, "min": (*build).extreme, "max": (*build).extreme, "neg": (*build).neg, "abs": (*build).abs,
		"and": (*build).logic, "or": (*build).logic, "xor": (*build).logic, "not": (*build).logic,
		"shl": (*build).shift, "shr": (*build).shift, "shf": (*build).funnel,
		"bfe": (*build).bfe, "bfi": (*build).bfi, "lop3": (*build).lop3, "prmt": (*build).prmt,
		"popc": (*build).count, "clz": (*build).count, "brev": (*build).count, "dp4a": (*build).dp4a,
		"copysign": (*build).copysign, "rcp": (*build).special1, "sqrt": (*build).special1, "rsqrt": (*build).special1, "ex2": (*build).special1,
		"lg2": (*build).special1, "sin": (*build).special1, "cos": (*build).special1, "tanh": (*build).special1,
		"ld": (*build).load, "st": (*build).store, "prefetch": (*build).prefetch, "prefetchu": (*build).prefetch,
		"bra": (*build).bra, "ret": (*build).ret, "exit": (*build).ret, "trap": (*build).trap,
		"bar": (*build).bar, "barrier": (*build).bar, "membar": (*build).fence, "fence": (*build).fence,
		"shfl": (*build).shfl, "vote": (*build).vote, "redux": (*build).redux, "activemask": (*build).activemask,
		"mma": (*build).mma, "ldmatrix": (*build).ldmatrix, "stmatrix": (*build).stmatrix, "cp": (*build).cp,
	}
}
