package frontend

import "github.com/alecthomas/participle/v2/lexer"

// The syntax tree. The participle tags are the grammar; docs/language.md tells
// it in words. Every node has the position of its first token.

type file struct {
	name     string
	src      string
	decls    []*decl
	toks     []lexer.Token
	comments []comment
}

type decl struct {
	Pos     lexer.Position
	EndPos  lexer.Position
	Import  *importDecl  `parser:"@@"`
	Clock   *clockDecl   `parser:"| @@"`
	Param   *paramDecl   `parser:"| @@"`
	Dim     *dimDecl     `parser:"| @@"`
	Type    *typeDecl    `parser:"| @@"`
	Rows    *rowsDecl    `parser:"| @@"`
	Entry   *entryDecl   `parser:"| @@"`
	Require *requireStmt `parser:"| @@"`
	Fn      *fnDecl      `parser:"| @@"`
}

type name struct {
	Pos  lexer.Position
	Text string `parser:"@Ident"`
}

type importDecl struct {
	Pos  lexer.Position
	Path string `parser:"'import' @String"`
}

type clockDecl struct {
	Pos  lexer.Position
	Name *name `parser:"'clock' @@"`
}

// param window, sinks: int = 0
type paramDecl struct {
	Pos     lexer.Position
	Names   []*name   `parser:"'param' @@ (',' @@)*"`
	Type    *typeName `parser:"':' @@"`
	Default *expr     `parser:"('=' @@)?"`
}

type typeName struct {
	Pos  lexer.Position
	List string `parser:"(  '[' @Ident ']'"`
	Elem string `parser:"| @Ident )"`
}

func (t *typeName) String() string {
	if t.List != "" {
		return "[" + t.List + "]"
	}
	return t.Elem
}

// dim h = mem_heads, a = mem_head_dim
type dimDecl struct {
	Pos   lexer.Position
	Items []*dimBind `parser:"'dim' @@ (',' @@)*"`
}

type dimBind struct {
	Pos  lexer.Position
	Name *name `parser:"@@"`
	Size *expr `parser:"'=' @@"`
}

// type Net = { w0[h, f, a], w1[h, a, f] }
type typeDecl struct {
	Pos    lexer.Position
	Name   *name        `parser:"'type' @@ '=' '{'"`
	Fields []*fieldDecl `parser:"@@ (',' @@)* '}'"`
}

type fieldDecl struct {
	Pos   lexer.Position
	Name  *name  `parser:"@@"`
	Shape *shape `parser:"@@"`
}

// rows r from t every C { group S { text; beacon }  end { globals[G] } }
type rowsDecl struct {
	Pos   lexer.Position
	Name  *name     `parser:"'rows' @@"`
	From  *name     `parser:"'from' @@"`
	Every *expr     `parser:"'every' @@ '{'"`
	Group *expr     `parser:"'group' @@ '{'"`
	In    []*rowRef `parser:"@@ (EOL @@)* '}' EOL?"`
	End   []*rowRef `parser:"('end' '{' @@ (EOL @@)* '}')? '}'"`
}

type rowRef struct {
	Pos   lexer.Position
	Name  *name `parser:"@@"`
	Count *expr `parser:"('[' @@ ']')?"`
}

// require heads mod groups == 0, "what is wrong"
type requireStmt struct {
	Pos     lexer.Position
	Test    *expr `parser:"'require' @@"`
	Message *expr `parser:"',' @@"`
}

type entryDecl struct {
	Pos     lexer.Position
	Name    *name     `parser:"'entry' @@"`
	Params  []*par    `parser:"'(' @@ (',' @@)* ')' '->'"`
	Results []*result `parser:"@@ (',' @@)*"`
	Value   *expr     `parser:"( '=' @@"`
	Body    *block    `parser:"| @@ )"`
}

type result struct {
	Pos   lexer.Position
	Name  *name  `parser:"@@"`
	Elem  string `parser:"@Ident"`
	Shape *shape `parser:"@@"`
}

// fn f[t, d](x[t, d], name: string) where mask chunk N of t = … or { … }
type fnDecl struct {
	Pos    lexer.Position
	Kind   string    `parser:"@('fn' | 'layer' | 'memory')"`
	Name   *name     `parser:"@@"`
	Any    []*name   `parser:"('[' @@ (',' @@)* ']')?"`
	Params []*par    `parser:"'(' (@@ (',' @@)*)? ')'"`
	Where  *name     `parser:"('where' @@)?"`
	Chunk  *chunkRef `parser:"@@?"`
	Value  *expr     `parser:"( '=' @@"`
	Body   *block    `parser:"| @@ )"`
}

type chunkRef struct {
	Pos  lexer.Position
	Size *expr `parser:"'chunk' ( (?! 'of') @@ )?"`
	Of   *name `parser:"'of' @@"`
}

type par struct {
	Pos     lexer.Position
	Name    *name     `parser:"@@"`
	Type    *typeName `parser:"(  ':' @@"`
	Elem    string    `parser:"| (@Ident"`
	Shape   *shape    `parser:"  @@ | @@) )?"`
	Default *expr     `parser:"('=' @@)?"`
}

type shape struct {
	Pos    lexer.Position
	Rest   bool       `parser:"'[' ( @'..' ','? )?"`
	Items  []*dimItem `parser:"( @@ (',' @@)* )? ']'"`
	EndPos lexer.Position
}

// A dimension: h, h * a, or name: size. As an index: dim: which.
type dimItem struct {
	Pos   lexer.Position
	Name  *name `parser:"(@@ ':')?"`
	Value *expr `parser:"@@"`
}

type block struct {
	Pos    lexer.Position
	Stmts  []*stmt `parser:"'{' ( @@ ( EOL @@ )* )? '}'"`
	EndPos lexer.Position
}

type stmt struct {
	Pos     lexer.Position
	State   *stateStmt   `parser:"@@"`
	Read    *bindStmt    `parser:"| 'read' @@"`
	Write   *block       `parser:"| 'write' @@"`
	Return  *returnStmt  `parser:"| @@"`
	Probe   *probeStmt   `parser:"| @@"`
	If      *ifStmt      `parser:"| @@"`
	For     *forStmt     `parser:"| @@"`
	Dim     *dimDecl     `parser:"| @@"`
	Require *requireStmt `parser:"| @@"`
	Bind    *bindStmt    `parser:"| @@"`
	EndPos  lexer.Position
}

type stateStmt struct {
	Pos    lexer.Position
	Name   *name  `parser:"'state' @@"`
	Record *name  `parser:"( ':' @@"`
	Shape  *shape `parser:"| @@ )"`
	Elem   string `parser:"('as' @Ident)?"`
	Len    *name  `parser:"('len' @@)?"`
	Init   *expr  `parser:"'=' @@"`
}

type returnStmt struct {
	Pos    lexer.Position
	Values []*expr `parser:"'return' @@ (',' @@)*"`
}

type probeStmt struct {
	Pos   lexer.Position
	Name  *name `parser:"'probe' @@"`
	Value *expr `parser:"'=' @@"`
}

type ifStmt struct {
	Pos  lexer.Position
	Test *expr   `parser:"'if' @@"`
	Then *block  `parser:"@@"`
	Elif *ifStmt `parser:"( 'else' ( @@"`
	Else *block  `parser:"| @@ ) )?"`
}

type forStmt struct {
	Pos  lexer.Position
	Var  *name  `parser:"'for' @@"`
	In   *expr  `parser:"'in' @@"`
	Body *block `parser:"@@"`
}

type bindStmt struct {
	Pos    lexer.Position
	Names  []*target `parser:"@@ (',' @@)*"`
	Values []*expr   `parser:"'=' @@ (',' @@)*"`
}

type target struct {
	Pos   lexer.Position
	Name  *name  `parser:"@@"`
	Shape *shape `parser:"@@?"`
}

// An expression as it is written: operands and operators in a row; tree.go
// gives them their precedence.
type expr struct {
	Pos    lexer.Position
	First  *unary   `parser:"@@"`
	Rest   []*binop `parser:"@@*"`
	EndPos lexer.Position
}

type binop struct {
	Pos   lexer.Position
	Op    string `parser:"@('or' | 'and' | '==' | '!=' | '<=' | '>=' | '<' | '>' | 'in' | '..' | '+' | '-' | '*' | '/' | '@' | 'div' | 'mod')"`
	Right *unary `parser:"@@"`
}

type unary struct {
	Pos  lexer.Position
	Ops  []string `parser:"@('-' | 'not')*"`
	Post *postfix `parser:"@@"`
}

type postfix struct {
	Pos    lexer.Position
	Base   *primary  `parser:"@@"`
	Suffix []*suffix `parser:"@@*"`
}

type suffix struct {
	Pos   lexer.Position
	Field string   `parser:"'.' @Ident"`
	Index *shape   `parser:"| @@"`
	Call  *args    `parser:"| @@"`
	As    *asForm  `parser:"| 'as' @@"`
	Where *expr    `parser:"| 'where' @@"`
	At    *primary `parser:"| 'at' @@"`
	Per   *name    `parser:"| 'per' @@"`
}

type asForm struct {
	Pos   lexer.Position
	Shape *shape `parser:"@@"`
	Elem  string `parser:"| @Ident"`
}

type args struct {
	Pos    lexer.Position
	List   []*arg  `parser:"'(' ( @@ (',' @@)* )?"`
	Over   []*name `parser:"('over' @@ (',' @@)*)? ')'"`
	EndPos lexer.Position
}

type arg struct {
	Pos   lexer.Position
	Name  *name `parser:"(@@ ':')?"`
	Value *expr `parser:"@@"`
}

type primary struct {
	Pos     lexer.Position
	Float   string      `parser:"@Float"`
	Int     string      `parser:"| @Int"`
	Str     string      `parser:"| @String"`
	Bool    string      `parser:"| @('true' | 'false')"`
	If      *ifExpr     `parser:"| @@"`
	Each    *eachExpr   `parser:"| @@"`
	Repeat  *repeatExpr `parser:"| @@"`
	Initial *name       `parser:"| 'initial' @@"`
	Weight  *weightExpr `parser:"| @@"`
	Name    string      `parser:"| @Ident"`
	List    *listExpr   `parser:"| @@"`
	Paren   []*expr     `parser:"| '(' @@ (',' @@)* ')'"`
}

type listExpr struct {
	Pos   lexer.Position
	Items []*expr `parser:"'[' ( @@ (',' @@)* )? ']'"`
}

type ifExpr struct {
	Pos  lexer.Position
	Test *expr `parser:"'if' @@"`
	Then *expr `parser:"'then' @@"`
	Else *expr `parser:"'else' @@"`
}

// each i, (x, x0) in (w, initial w): value
type eachExpr struct {
	Pos   lexer.Position
	Index *name   `parser:"'each' ( @@ ',' )?"`
	Vars  []*name `parser:"( @@ | '(' @@ (',' @@)* ')' )"`
	In    *expr   `parser:"'in' @@"`
	Value *expr   `parser:"':' @@"`
}

// repeat Block(x, i) over "model.layers.{i}" for i in 0..n
type repeatExpr struct {
	Pos  lexer.Position
	Call *postfix `parser:"'repeat' @@"`
	Path string   `parser:"'over' @String"`
	Var  *name    `parser:"'for' @@"`
	In   *expr    `parser:"'in' @@"`
}

// weight("name")[h, d] as bf16 init normal(fan_in), or weight(Net) init …
type weightExpr struct {
	Pos   lexer.Position
	Name  *expr     `parser:"'weight' '(' @@ ')'"`
	Shape *shape    `parser:"@@?"`
	Elem  string    `parser:"('as' @Ident)?"`
	Init  *initForm `parser:"('init' @@)?"`
}

type initForm struct {
	Pos   lexer.Position
	Kind  *name `parser:"@@"`
	Value *expr `parser:"('(' @@ ')')?"`
}
