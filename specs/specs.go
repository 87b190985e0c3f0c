// Package specs holds the specs that come with the compiler, so that they are
// found wherever it runs.
package specs

import "embed"

// FS holds the model specs, lib/ (pieces that they import) and bench/.
//
//go:embed *.spec lib bench
var FS embed.FS
