package runtime

// Supported is nil where this machine can run compiled code of a target that
// uses these processor features; else an *Unsupported error says what it lacks.
func Supported(target string, features []string) error {
	if err := nativeHere(); err != nil {
		return err
	}
	return supported(target, features)
}
