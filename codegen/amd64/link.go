package amd64

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"strings"
)

// object is a file in ELF. Where it has one kernel that has no name of its own, the name
// is beside it.
type object struct {
	file   []byte
	kernel string
}

// link joins the code and constants of ELF objects (System V ABI, AMD64
// supplement, 4.4) into one block without relocations. A reference to anything
// that the objects do not define is an error.
func link(objects []object) (*Blob, error) {
	l := &linker{symbols: map[string]int64{}}
	for _, o := range objects {
		if err := l.add(o); err != nil {
			return nil, fmt.Errorf("linking generated code: %w", err)
		}
	}
	for _, p := range l.patches {
		if p.name != "" {
			at, ok := l.symbols[p.name]
			if !ok {
				return nil, fmt.Errorf("linking generated code: undefined symbol %q", p.name)
			}
			p.target = at
		}
		if err := l.apply(p); err != nil {
			return nil, fmt.Errorf("linking generated code: %w", err)
		}
	}
	maps.DeleteFunc(l.symbols, func(name string, _ int64) bool { return strings.HasPrefix(name, "memc.") })
	return &Blob{Code: l.code, Symbols: l.symbols}, nil
}

type linker struct {
	code    []byte
	symbols map[string]int64
	patches []patch
}

// patch is a relocation: the field at the offset at becomes target + addend - at. The
// target is the function of a name where it has one: of another object.
type patch struct {
	at, target, addend int64
	kind               elf.R_X86_64
	name               string
}

func (l *linker) add(o object) error {
	f, err := elf.NewFile(bytes.NewReader(o.file))
	if err != nil {
		return err
	}
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 || f.Type != elf.ET_REL {
		return fmt.Errorf("the object is %v %v %v, not relocatable code for x86-64", f.Class, f.Machine, f.Type)
	}
	base := make([]int64, len(f.Sections)) // -1: not part of the program
	for i, s := range f.Sections {
		base[i] = -1
		if s.Flags&elf.SHF_ALLOC == 0 || s.Name == ".eh_frame" {
			continue
		}
		if s.Flags&elf.SHF_WRITE != 0 && s.Size > 0 {
			return fmt.Errorf("section %s is writable data", s.Name)
		}
		if s.Type != elf.SHT_PROGBITS {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return err
		}
		align := int(max(s.Addralign, 64))
		if align > 4096 {
			return fmt.Errorf("section %s wants an alignment of %d bytes", s.Name, align)
		}
		l.code = append(l.code, make([]byte, -len(l.code)&(align-1))...)
		base[i] = int64(len(l.code))
		l.code = append(l.code, data...)
	}
	symbols, err := f.Symbols()
	if err != nil {
		return err
	}
	where := make([]int64, len(symbols))
	for i, s := range symbols {
		where[i] = -1
		if int(s.Section) >= len(base) || s.Section == elf.SHN_UNDEF || base[s.Section] < 0 {
			continue
		}
		where[i] = base[s.Section] + int64(s.Value)
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && elf.ST_BIND(s.Info) == elf.STB_GLOBAL {
			name := s.Name
			if o.kernel != "" {
				name = o.kernel
			}
			if _, twice := l.symbols[name]; twice {
				return fmt.Errorf("%s is defined twice", name)
			}
			l.symbols[name] = where[i]
		}
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_RELA || int(s.Info) >= len(base) || base[s.Info] < 0 {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return err
		}
		for ; len(data) >= 24; data = data[24:] {
			off, info := binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint64(data[8:])
			n := int(elf.R_SYM64(info)) - 1 // Symbols leaves out the null symbol
			if n < 0 || n >= len(symbols) {
				return fmt.Errorf("a relocation names symbol %d of %d", n, len(symbols))
			}
			p := patch{at: base[s.Info] + int64(off), target: where[n], addend: int64(binary.LittleEndian.Uint64(data[16:])), kind: elf.R_X86_64(elf.R_TYPE64(info))}
			if where[n] < 0 {
				if p.name = symbols[n].Name; symbols[n].Section != elf.SHN_UNDEF || p.name == "" {
					return fmt.Errorf("a relocation names the symbol %q, which is no code or constant", p.name)
				}
			}
			l.patches = append(l.patches, p)
		}
	}
	return nil
}

func (l *linker) apply(p patch) error {
	if p.at < 0 || p.at+4 > int64(len(l.code)) {
		return fmt.Errorf("a relocation at byte %d of %d", p.at, len(l.code))
	}
	switch p.kind {
	case elf.R_X86_64_PC32, elf.R_X86_64_PLT32:
	case elf.R_X86_64_REX_GOTPCRELX, elf.R_X86_64_GOTPCRELX, elf.R_X86_64_GOTPCREL:
		// mov sym@GOTPCREL(%rip), reg becomes lea sym(%rip), reg.
		if p.at < 2 || l.code[p.at-2] != 0x8b {
			return fmt.Errorf("a reference through a global offset table that is not a mov")
		}
		l.code[p.at-2] = 0x8d
	default:
		return fmt.Errorf("relocation %v", p.kind)
	}
	v := p.target + p.addend - p.at
	if v != int64(int32(v)) || len(l.code) > math.MaxInt32 {
		return fmt.Errorf("a reference over %d bytes", v)
	}
	binary.LittleEndian.PutUint32(l.code[p.at:], uint32(v))
	return nil
}
