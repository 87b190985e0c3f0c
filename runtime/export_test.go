package runtime

// InPlace tells, for each input and output of an entry point's last call,
// whether kernels had it where the caller has it.
func InPlace(s *Session, entry int) (in, out []bool) {
	m := s.machine.(*machine)
	pe, p := &m.plan.Entries[entry], &m.entries[entry].ports
	for i := range pe.Inputs {
		in = append(in, p.in[i] != m.addr[pe.Inputs[i].Buffer])
	}
	for i := range pe.Outputs {
		out = append(out, p.out[i] != m.addr[pe.Outputs[i].Buffer])
	}
	return in, out
}
