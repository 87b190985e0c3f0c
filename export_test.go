package memc

// PTXTarget prints the code of a program that was lowered for a GPU.
var PTXTarget = ptxTarget
