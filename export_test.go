package memc

// PTXTarget prints the code of a program that was lowered for a GPU.
var PTXTarget = ptxTarget

// Update says that tests write what they find into the documentation.
var Update = update
