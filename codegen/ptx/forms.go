package ptx

import (
	"fmt"
	"strings"
)

// kind is a set of operand kinds; an operand has exactly one.
type kind uint32

const (
	pred    kind = 1 << iota // a predicate register
	b16                      // a 16-bit register
	b32                      // a 32-bit register
	b64                      // a 64-bit register
	f32                      // a float register
	whole                    // an integer literal
	real                     // an f32 literal
	near                     // a shared address: a b32 register and a displacement
	far                      // a global address: a b64 register and a displacement
	param                    // a kernel parameter, as an address
	symbol                   // the name of a variable
	label                    // a place to branch to
	sreg                     // a special register of 32 bits
	sixteen                  // the literal 16
	oneR                     // a 32-bit register in braces
	twoF                     // two float registers in braces
	fourF                    // four of them
	twoR                     // two 32-bit registers in braces
	fourR                    // four of them
)

// The letter of each kind in a form's signature, and its name in errors.
var kinds = []struct {
	kind   kind
	letter byte
	name   string
}{
	{pred, 'p', "a predicate"},
	{b16, 'h', "a 16-bit register"},
	{b32, 'r', "a 32-bit register"},
	{b64, 'q', "a 64-bit register"},
	{f32, 'f', "an f32 register"},
	{whole, 'i', "an integer literal"},
	{real, 'x', "an f32 literal"},
	{near, 'n', "a shared address"},
	{far, 'g', "a global address"},
	{param, 'm', "a parameter"},
	{symbol, 's', "a variable's name"},
	{label, 'l', "a label"},
	{sreg, '%', "a special register"},
	{sixteen, '6', "the number 16"},
	{oneR, 'O', "a 32-bit register in braces"},
	{twoF, 'F', "two f32 registers"},
	{fourF, 'G', "four f32 registers"},
	{twoR, 'R', "two 32-bit registers"},
	{fourR, 'S', "four 32-bit registers"},
}

func (k kind) String() string {
	if k == 0 {
		return "no operand"
	}
	var names []string
	for _, row := range kinds {
		if k&row.kind != 0 {
			names = append(names, row.name)
		}
	}
	return strings.Join(names, " or ")
}

// form is one instruction as the PTX ISA defines it: the mnemonic with its
// type, the operands it takes, and the oldest target and PTX version that have
// it. A signature has one word an operand: the letters of the kinds it may be,
// after '=' where the instruction writes it.
type form struct {
	mnemonic  string
	signature string
	sm        int // 80 for sm_80
	ptx       int // 70 for PTX 7.0
}

// forms is every instruction that this package emits. The versions are those
// of "PTX ISA Notes" and "Target ISA Notes" of each instruction in the PTX ISA
// manual; no entry is older than sm_50, PTX 4.0, for nothing older is a target.
var forms = []form{
	// Moves, and what surrounds a program.
	{"mov.u32", "=r ri%s", 50, 40},
	{"mov.u64", "=q qis", 50, 40},
	{"mov.f32", "=f fx", 50, 40},
	{"mov.b32", "=r f", 50, 40}, // the bits of a float
	{"mov.b32", "=f r", 50, 40},
	{"bar.sync", "i", 50, 40},
	{"bra", "l", 50, 40},
	{"ret", "", 50, 40},
	{"cvta.to.global.u64", "=q q", 50, 40},

	// Memory. Every access is of one element.
	{"ld.param.u64", "=q m", 50, 40},
	{"ld.shared.f32", "=f n", 50, 40},
	{"ld.shared.u32", "=r n", 50, 40},
	{"ld.shared.u64", "=q n", 50, 40},
	{"ld.shared.u16", "=r n", 50, 40},
	{"st.shared.f32", "n fx", 50, 40},
	{"st.shared.u32", "n ri", 50, 40},
	{"st.shared.u64", "n qi", 50, 40},
	{"ld.global.f32", "=f g", 50, 40},
	{"ld.global.u8", "=r g", 50, 40},
	{"ld.global.b16", "=h g", 50, 40},
	{"ld.global.u16", "=r g", 50, 40}, // into the lower half of a 32-bit register
	{"ld.global.u32", "=r g", 50, 40},
	{"ld.global.u64", "=q g", 50, 40},
	{"st.global.f32", "g fx", 50, 40},
	{"st.global.u8", "g r", 50, 40},
	{"st.global.b16", "g h", 50, 40},
	{"st.global.u32", "g ri", 50, 40},
	{"st.global.u64", "g qi", 50, 40},

	// Memory, several elements at a time.
	{"ld.shared.v2.f32", "=F n", 50, 40},
	{"ld.shared.v4.u32", "=S n", 50, 40},
	{"st.shared.v2.f32", "n F", 50, 40},
	{"ld.shared.v4.f32", "=G n", 50, 40},
	{"st.shared.v4.f32", "n G", 50, 40},
	{"ld.global.v2.f32", "=F g", 50, 40},
	{"st.global.v2.f32", "g F", 50, 40},
	{"st.shared.b16", "n h", 50, 40},
	{"cp.async.cg.shared.global", "n g 6 ri", 80, 70}, // 16 bytes, and how many of them are read: the rest is 0
	{"cp.async.commit_group", "", 80, 70},
	{"cp.async.wait_group", "i", 80, 70},

	// Products of a warp (PTX ISA, "Matrix Multiply-Accumulate Instructions").
	{"ldmatrix.sync.aligned.m8n8.x4.shared.b16", "=S n", 75, 65},
	{"ldmatrix.sync.aligned.m8n8.x2.shared.b16", "=R n", 75, 65},
	{"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "=S n", 75, 65},
	{"ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16", "=R n", 75, 65},
	{"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "=G S R G", 80, 70},
	{"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "=G S R G", 80, 70},
	{"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", "=G R O G", 75, 65},
	{"mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", "=G R O G", 80, 70},
	{"shfl.sync.bfly.b32", "=f f i i i", 50, 60},

	// Integers of 32 bits: places within tiles, and i32 values.
	{"add.s32", "=r r ri", 50, 40},
	{"sub.s32", "=r ri ri", 50, 40},
	{"mul.lo.s32", "=r r ri", 50, 40},
	{"mad.lo.s32", "=r r ri ri", 50, 40},
	{"div.s32", "=r ri ri", 50, 40},
	{"div.u32", "=r ri ri", 50, 40},
	{"rem.s32", "=r ri ri", 50, 40},
	{"min.s32", "=r r ri", 50, 40},
	{"max.s32", "=r r ri", 50, 40},
	{"neg.s32", "=r r", 50, 40},
	{"abs.s32", "=r r", 50, 40},
	{"and.b32", "=r r ri", 50, 40},
	{"or.b32", "=r r ri", 50, 40},
	{"shl.b32", "=r r ri", 50, 40},
	{"shr.s32", "=r r ri", 50, 40},
	{"shr.u32", "=r r ri", 50, 40},
	{"selp.b32", "=r ri ri p", 50, 40},
	{"setp.lt.s32", "=p r ri", 50, 40},
	{"setp.le.s32", "=p r ri", 50, 40},
	{"setp.eq.s32", "=p r ri", 50, 40},
	{"setp.ne.s32", "=p r ri", 50, 40},
	{"setp.ge.s32", "=p r ri", 50, 40},

	// Integers of 64 bits: index expressions, addresses, and i64 values.
	{"add.s64", "=q qi qi", 50, 40},
	{"sub.s64", "=q qi qi", 50, 40},
	{"mul.lo.s64", "=q qi qi", 50, 40},
	{"mad.lo.s64", "=q qi qi qi", 50, 40},
	{"mad.wide.u32", "=q r ri qi", 50, 40},
	{"mad.wide.s32", "=q r ri qi", 50, 40},
	{"div.s64", "=q qi qi", 50, 40},
	{"rem.s64", "=q qi qi", 50, 40},
	{"min.s64", "=q qi qi", 50, 40},
	{"max.s64", "=q qi qi", 50, 40},
	{"neg.s64", "=q q", 50, 40},
	{"abs.s64", "=q q", 50, 40},
	{"and.b64", "=q qi qi", 50, 40},
	{"xor.b64", "=q qi qi", 50, 40},
	{"shr.s64", "=q q ri", 50, 40},
	{"selp.b64", "=q qi qi p", 50, 40},
	{"setp.lt.s64", "=p qi qi", 50, 40},
	{"setp.le.s64", "=p qi qi", 50, 40},
	{"setp.eq.s64", "=p qi qi", 50, 40},
	{"setp.ne.s64", "=p qi qi", 50, 40},
	{"setp.ge.s64", "=p qi qi", 50, 40},

	// Floats. Nothing flushes subnormals where the mnemonic does not say so; roundings are written out.
	{"add.rn.f32", "=f fx fx", 50, 40},
	{"sub.rn.f32", "=f fx fx", 50, 40},
	{"mul.rn.f32", "=f fx fx", 50, 40},
	{"fma.rn.f32", "=f fx fx fx", 50, 40},
	{"fma.rn.bf16x2", "=r r r r", 80, 70}, // pairs of bf16
	{"div.rn.f32", "=f fx fx", 50, 40},
	{"sqrt.rn.f32", "=f f", 50, 40},
	{"rcp.approx.ftz.f32", "=f f", 50, 40},
	{"ex2.approx.ftz.f32", "=f f", 50, 40}, // 0 where the result is no normal float
	{"min.NaN.f32", "=f fx fx", 80, 70},
	{"max.NaN.f32", "=f fx fx", 80, 70},
	{"neg.f32", "=f f", 50, 40},
	{"abs.f32", "=f f", 50, 40},
	{"copysign.f32", "=f fx fx", 50, 40}, // the first operand's sign, the second's size
	{"selp.f32", "=f fx fx p", 50, 40},
	{"setp.lt.f32", "=p fx fx", 50, 40},
	{"setp.le.f32", "=p fx fx", 50, 40},
	{"setp.eq.f32", "=p fx fx", 50, 40},
	{"setp.ge.f32", "=p fx fx", 50, 40},

	// Predicates.
	{"and.pred", "=p p p", 50, 40},
	{"or.pred", "=p p p", 50, 40},
	{"not.pred", "=p p", 50, 40},

	// Conversions.
	{"cvt.s64.s32", "=q r", 50, 40},
	{"cvt.u64.u32", "=q r", 50, 40},
	{"cvt.u32.u64", "=r q", 50, 40},
	{"cvt.u32.u16", "=r h", 50, 40},
	{"cvt.u16.u32", "=h r", 50, 40},
	{"cvt.rn.f32.s32", "=f r", 50, 40},
	{"cvt.rn.f32.s64", "=f q", 50, 40},
	{"cvt.rni.s32.f32", "=r f", 50, 40},
	{"cvt.rzi.s32.f32", "=r f", 50, 40},
	{"cvt.rzi.s64.f32", "=q f", 50, 40},
	{"cvt.rni.f32.f32", "=f f", 50, 40}, // the nearest integer, ties to even
	{"cvt.rmi.f32.f32", "=f f", 50, 40}, // the integer at or below
	{"cvt.f32.f16", "=f h", 50, 40},
	{"cvt.rn.f16.f32", "=h f", 50, 40},
	{"cvt.rn.f16x2.f32", "=r fx fx", 80, 70},
	{"cvt.rn.bf16.f32", "=h f", 80, 70},
	{"cvt.rn.bf16x2.f32", "=r fx fx", 80, 70}, // the first becomes the upper half
}

// shape is a form's signature, parsed.
type shape struct {
	form
	operands []kind
	writes   bool // the first operand is written
}

var shapes = func() map[string][]shape {
	all := map[string][]shape{}
	for _, f := range forms {
		s := shape{form: f}
		for i, word := range strings.Fields(f.signature) {
			var k kind
			for _, letter := range []byte(strings.TrimPrefix(word, "=")) {
				for _, row := range kinds {
					if row.letter == letter {
						k |= row.kind
					}
				}
			}
			s.writes = s.writes || i == 0 && word[0] == '='
			s.operands = append(s.operands, k)
		}
		all[f.mnemonic] = append(all[f.mnemonic], s)
	}
	return all
}()

// match finds the form of a mnemonic that takes these operands; the error says
// which operand does not fit and why.
func match(mnemonic string, ops []operand) (shape, error) {
	all := shapes[mnemonic]
	if len(all) == 0 {
		return shape{}, fmt.Errorf("no form is called %s", mnemonic)
	}
	var err error
	for _, s := range all {
		e := s.takes(ops)
		if e == nil {
			return s, nil
		}
		if err == nil {
			err = e
		}
	}
	return shape{}, err
}

func (s shape) takes(ops []operand) error {
	if len(ops) != len(s.operands) {
		return fmt.Errorf("%s takes %d operands, not %d", s.mnemonic, len(s.operands), len(ops))
	}
	for i, o := range ops {
		if o.kind&s.operands[i] == 0 {
			return fmt.Errorf("%s: operand %d must be %s, and %s is %s", s.mnemonic, i, s.operands[i], o, o.kind)
		}
	}
	return nil
}
