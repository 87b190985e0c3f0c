package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"github.com/memc-lang/memc/ir/plan"
)

// spelled has the features that LLVM names otherwise than cpuid does.
var spelled = map[string]string{"fma": "FMA3", "bmi": "BMI1", "sse4.1": "SSE4", "sse4.2": "SSE42", "amx-bf16": "AMXBF16", "amx-int8": "AMXINT8", "amx-tile": "AMXTILE"}

// feature finds a feature by either name; cpuid.UNKNOWN where there is none.
func feature(name string) cpuid.FeatureID {
	if s, ok := spelled[strings.ToLower(name)]; ok {
		name = s
	}
	return cpuid.ParseFeature(name)
}

// missing lists the features among those named, in LLVM's spelling or cpuid's,
// that this processor or its operating system lacks.
func missing(features []string) []string {
	var lack []string
	for _, f := range features {
		id := feature(f)
		if id == cpuid.UNKNOWN || !cpuid.CPU.Supports(id) {
			lack = append(lack, f)
		}
	}
	slices.Sort(lack)
	return slices.Compact(lack)
}

// supported is nil where this processor has the features.
func supported(target string, features []string) error {
	lack := missing(features)
	switch {
	case len(lack) > 0:
	case slices.Contains(features, "amx-tile"):
		return allowTiles()
	default:
		return nil
	}
	return &Unsupported{fmt.Sprintf("target %s needs %s, which this processor (%s) lacks", target, strings.Join(lack, ", "), cpuid.CPU.BrandName)}
}

// host is what suits this processor. AMD's (Zen 4) reads what a product of one row reads
// from memory or from L3 1.1 to 1.2 times as fast where nothing is fetched; Intel's
// (Sapphire Rapids) reads at its full speed with this.
func host() plan.NativeHost {
	if cpuid.CPU.VendorID == cpuid.AMD {
		return plan.NativeHost{}
	}
	return plan.NativeHost{Ahead: 12}
}
