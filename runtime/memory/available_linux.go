package memory

import (
	"bytes"
	"os"
	"strconv"
)

// Available is how many bytes of memory can be had without taking them from
// other programs, as the system estimates it (proc(5), MemAvailable; for a
// control group its limit, less what is used but for files' pages); negative
// where that is not known.
func Available() int64 {
	free := field("/proc/meminfo", "MemAvailable:")
	if free >= 0 {
		free <<= 10
	}
	const group = "/sys/fs/cgroup/memory."
	if most, used := field(group+"max", ""), field(group+"current", ""); most >= 0 && used >= 0 {
		left := max(most-used+max(field(group+"stat", "file"), 0), 0)
		if free < 0 || left < free {
			free = left
		}
	}
	return free
}

// field is the number behind a word at a line's start, negative where the file
// has none.
func field(file, word string) int64 {
	b, _ := os.ReadFile(file)
	for line := range bytes.Lines(b) {
		words := bytes.Fields(line)
		if word != "" {
			if len(words) == 0 || string(words[0]) != word {
				continue
			}
			words = words[1:]
		}
		if len(words) > 0 {
			if n, err := strconv.ParseInt(string(words[0]), 10, 53); err == nil {
				return n
			}
		}
	}
	return -1
}
