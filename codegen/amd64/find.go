package amd64

// FindLLC gives the path of LLVM's assembler, the newest in PATH. The error is
// Missing where there is none.
func FindLLC() (string, error) { return findLLC() }
