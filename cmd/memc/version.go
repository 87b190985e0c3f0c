package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/memc-lang/memc"
)

type versionCmd struct{}

func (versionCmd) Run(a *app) error {
	r := struct {
		Version string `json:"version"`
		Go      string `json:"go"`
		System  string `json:"system"`
	}{memc.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "memc %s (%s, %s)\n", r.Version, r.Go, r.System) })
}
