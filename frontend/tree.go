package frontend

import "github.com/alecthomas/participle/v2/lexer"

// A node of the expression tree: an operand, or an operator on two.
type tree struct {
	pos   lexer.Position // of the operator, or of the operand
	op    string         // "" for an operand
	leaf  *unary
	left  *tree
	right *tree
}

// How strongly an operator binds, weakest first.
var precedence = map[string]int{
	"or": 1, "and": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
	"..": 4, "+": 5, "-": 5, "*": 6, "/": 6, "@": 6, "div": 6, "mod": 6,
}

// treeOf gives x its tree. Operators of one strength group to the left.
func treeOf(x *expr) *tree {
	operands := []*tree{{pos: x.First.Pos, leaf: x.First}}
	var ops []*binop
	reduce := func(least int) {
		for len(ops) > 0 && precedence[ops[len(ops)-1].Op] >= least {
			o, k := ops[len(ops)-1], len(operands)
			ops = ops[:len(ops)-1]
			operands = append(operands[:k-2], &tree{pos: o.Pos, op: o.Op, left: operands[k-2], right: operands[k-1]})
		}
	}
	for _, b := range x.Rest {
		reduce(precedence[b.Op])
		ops = append(ops, b)
		operands = append(operands, &tree{pos: b.Right.Pos, leaf: b.Right})
	}
	reduce(0)
	return operands[0]
}
