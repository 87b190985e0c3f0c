// Package elem names the element types that every level shares.
package elem

// Type is an element type.
type Type uint8

// The element types. BF16 and F16 are storage formats: arithmetic on them is
// in f32. Bool lives inside expressions only.
const (
	F32 Type = iota
	BF16
	F16
	I32
	I64
	Bool
)

var names = [...]string{"f32", "bf16", "f16", "i32", "i64", "bool"}

// Size is the number of bytes of one element in memory.
func (t Type) Size() int { return [...]int{4, 2, 2, 4, 8, 1}[t] }

func (t Type) String() string { return names[t] }

// Float reports whether t is a floating type.
func (t Type) Float() bool { return t <= F16 }

// Parse finds the type of that name.
func Parse(s string) (Type, bool) {
	for i, n := range names {
		if n == s {
			return Type(i), true
		}
	}
	return 0, false
}
