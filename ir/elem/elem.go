// Package elem names the element types that every level shares, and says how
// quantised ones are made and laid out.
package elem

// Type is an element type.
type Type uint8

// The element types. BF16, F16, Q8 and Q4 are storage formats: arithmetic on
// them is in f32. Bool lives inside expressions only.
const (
	F32 Type = iota
	BF16
	F16
	I32
	I64
	Bool
	Q8 // whole numbers from -127 to 127 times the scale of their group, see quant.go
	Q4 // whole numbers from -7 to 7 times the scale of their group
)

var names = [...]string{"f32", "bf16", "f16", "i32", "i64", "bool", "q8", "q4"}

// Size is the number of bytes of one element in memory, 0 for quantised types,
// whose elements lie in groups.
func (t Type) Size() int { return [...]int{4, 2, 2, 4, 8, 1, 0, 0}[t] }

func (t Type) String() string { return names[t] }

// Float reports whether t holds reals.
func (t Type) Float() bool { return t <= F16 || t.Quantised() }

// Quantised reports whether elements are whole numbers with a scale a group.
func (t Type) Quantised() bool { return t == Q8 || t == Q4 }

// Parse finds the type of that name.
func Parse(s string) (Type, bool) {
	for i, n := range names {
		if n == s {
			return Type(i), true
		}
	}
	return 0, false
}
