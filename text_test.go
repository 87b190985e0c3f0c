package memc_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/bench/section"
	"github.com/memc-lang/memc/runtime"
)

// texts are the rows of a table in docs/quantization.md: options as memc run takes
// them, and the most bits per byte that they may cost.
var texts = []struct {
	row     string
	options memc.Options
	costs   float64
}{
	{"f32", memc.Options{}, 0},
	{"`--quantize q8`", memc.Options{Quantize: "q8"}, 0.003},
	{"`--quantize q4`", memc.Options{Quantize: "q4"}, 0.1},
	{"`--cache bf16`", memc.Options{Cache: "bf16"}, 0.001},
	{"`--cache f16`", memc.Options{Cache: "f16"}, 0.0005},
	{"`--cache q8`", memc.Options{Cache: "q8"}, 0.001},
	{"`--quantize q8 --cache q8`", memc.Options{Quantize: "q8", Cache: "q8"}, 0.003},
	{"`--quantize q8 --products q8`", memc.Options{Quantize: "q8", Products: "q8"}, 0.003},
	{"`--quantize q4 --products q8`", memc.Options{Quantize: "q4", Products: "q8"}, 0.1},
}

// TestText: what weights and histories in fewer bits cost a trained model on a text
// that it has not seen is within bounds, and what the documentation says: its last
// digit may differ by one, as targets add in other orders.
func TestText(t *testing.T) {
	const document, name, dir = "docs/quantization.md", "bits per byte", "testdata/bytes/"
	targets := native(t)
	if len(targets) == 0 {
		t.Skip("this machine runs no compiled target")
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(readFile(t, dir+"config.json"), &config); err != nil {
		t.Fatal(err)
	}
	text := readFile(t, dir+"text.txt")
	documented, err := section.Read(document, name)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{} // the documented lines by their first cells
	for line := range strings.Lines(documented) {
		if cell := strings.SplitN(line, " | ", 2); len(cell) == 2 {
			said[strings.TrimPrefix(cell[0], "| ")] = cell[1]
		}
	}
	found := "| | bits per byte | more than f32 | state |\n|---|---|---|---|\n"
	var f32 float64
	for i, c := range texts {
		c.options.Config = config
		ps := programs(t, "specs/allmem.spec", nil, c.options, targets[0]) // one target: most of the time is compiling
		if len(ps) == 0 {
			found += "| " + c.row + " | " + said[c.row]
			continue
		}
		p := ps[0]
		w, err := p.LoadWeights(dir + "model.safetensors")
		if err != nil {
			t.Fatal(err)
		}
		x := begin(t, p, w, 1, "forward", map[string]runtime.Tensor{"tokens": asTokens(text)}).rest(every(1 << 20))
		bits := bitsPerByte(t, x.out["logits"], text)
		if i == 0 {
			f32 = bits
		}
		more := math.Round((bits-f32)*1e4)/1e4 + 0 // no minus before 0
		if !(math.Abs(more) <= c.costs) {
			t.Errorf("%s: %.4f bits per byte more than f32, want at most %g", c.row, more, c.costs)
		}
		state := fmt.Sprintf("%.1f kB", float64(x.session.StateBytes())/1e3)
		line := fmt.Sprintf("%.4f | %.4f | %s |\n", bits, more, state)
		found += "| " + c.row + " | " + line
		if *memc.Update {
			continue
		}
		var saidBits, saidMore float64
		_, err = fmt.Sscanf(said[c.row], "%f | %f | "+state+" |\n", &saidBits, &saidMore)
		if near := 1.5e-4; err != nil || !(math.Abs(bits-saidBits) < near && math.Abs(more-saidMore) < near) {
			t.Errorf("%s: %s%s has %s(go test -run %s -update . writes it anew)", c.row, line, document, said[c.row], t.Name())
		}
	}
	if *memc.Update {
		if err := section.Replace(document, name, found); err != nil {
			t.Fatal(err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asTokens is a text whose bytes are tokens.
func asTokens(text []byte) runtime.Tensor {
	tokens := make([]int32, len(text))
	for i, b := range text {
		tokens[i] = int32(b)
	}
	return runtime.FromInt32(tokens)
}

// bitsPerByte is what each byte but the first takes under the logits of the byte
// before it: the mean of -log2 of its share.
func bitsPerByte(t *testing.T, logits runtime.Tensor, text []byte) float64 {
	t.Helper()
	v, err := runtime.Float64(logits)
	if err != nil {
		t.Fatal(err)
	}
	n, bits := len(v)/len(text), 0.0
	for i, b := range text[1:] {
		sum, row := 0.0, v[i*n:(i+1)*n]
		for _, x := range row {
			sum += math.Exp(x)
		}
		bits += (math.Log(sum) - row[b]) / math.Ln2
	}
	return bits / float64(len(text)-1)
}
