package cuda

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Lacks is the error of a machine that lacks a driver, a device, or room on it.
type Lacks struct{ What string }

func (l *Lacks) Error() string { return l.What }

// Error is a call that failed.
type Error struct {
	Doing  string // what could not be done, as "copy the inputs"
	Result Result
	Name   string // of the result, as "CUDA_ERROR_ILLEGAL_ADDRESS"
	Text   string // what the driver says that it means
}

func (e *Error) Error() string {
	return fmt.Sprintf("the GPU could not %s: %s (%d): %s", e.Doing, e.Name, e.Result, e.Text)
}

// Driver is a driver that has been started.
type Driver struct {
	api     API
	version int
	mutex   sync.Mutex
	gpus    map[int]*GPU // by ordinal
}

// Open starts this machine's driver, once. The error, a *Lacks, says why there
// is none.
func Open() (*Driver, error) { return started() }

var started = sync.OnceValues(func() (*Driver, error) {
	l, err := Load()
	if err != nil {
		return nil, err
	}
	return Start(l)
})

// Start starts a driver.
func Start(api API) (*Driver, error) {
	d := &Driver{api: api, gpus: map[int]*GPU{}}
	switch r := api.Init(); r {
	case Success:
	case NoDevice:
		return nil, &Lacks{"the NVIDIA driver finds no GPU"}
	case SystemDriverMismatch:
		return nil, &Lacks{"the NVIDIA driver in the kernel and the library " + driverLibrary + " are of different versions: restart the machine after an update"}
	default:
		return nil, &Lacks{"the NVIDIA driver does not start: " + d.fail("start", r).Error()}
	}
	var r Result
	if d.version, r = api.DriverVersion(); r != Success {
		return nil, d.fail("tell its driver's version", r)
	}
	return d, nil
}

// fail makes an error of a result; nil of Success.
func (d *Driver) fail(doing string, r Result) error {
	if r == Success {
		return nil
	}
	e := &Error{Doing: doing, Result: r, Name: d.api.ErrorName(r), Text: d.api.ErrorString(r)}
	if e.Name == "" {
		e.Name, e.Text = "an error", "the driver does not know its number"
	}
	return e
}

// Version is a version of CUDA: 12.4 is 12040.
type Version int

func (v Version) String() string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// Version is the newest CUDA whose programs the driver runs.
func (d *Driver) Version() Version { return Version(d.version) }

// Info describes a device.
type Info struct {
	Ordinal         int
	Name            string
	Memory          int64 // bytes
	Capability      int   // 80 for 8.0
	Multiprocessors int
	Shared          int // the most bytes of shared memory of a CTA
}

func (i Info) String() string {
	return fmt.Sprintf("%s (compute capability %d.%d, %d multiprocessors, %.1f GiB)", i.Name, i.Capability/10, i.Capability%10, i.Multiprocessors, float64(i.Memory)/(1<<30))
}

// Devices lists the devices that the driver shows (CUDA_VISIBLE_DEVICES, which
// it reads itself, can hide some).
func (d *Driver) Devices() ([]Info, error) {
	n, r := d.api.DeviceCount()
	if r != Success {
		return nil, d.fail("count the devices", r)
	}
	out := make([]Info, n)
	for i := range out {
		var err error
		if out[i], err = d.info(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *Driver) info(ordinal int) (Info, error) {
	i := Info{Ordinal: ordinal}
	dev, r := d.api.Device(ordinal)
	if r != Success {
		return i, d.fail(fmt.Sprintf("find device %d", ordinal), r)
	}
	var major, minor int
	var results [6]Result
	i.Name, results[0] = d.api.DeviceName(dev)
	i.Memory, results[1] = d.api.DeviceMemory(dev)
	major, results[2] = d.api.DeviceAttribute(dev, Major)
	minor, results[3] = d.api.DeviceAttribute(dev, Minor)
	i.Multiprocessors, results[4] = d.api.DeviceAttribute(dev, Multiprocessors)
	i.Shared, results[5] = d.api.DeviceAttribute(dev, SharedOptIn)
	i.Capability = 10*major + minor
	for _, r := range results {
		if r != Success {
			return i, d.fail(fmt.Sprintf("describe device %d", ordinal), r)
		}
	}
	return i, nil
}

// Runs says whether a device of a compute capability runs code for a target:
// "sm_80" runs on 8.0 and everything newer; a name that ends in a letter, as
// "sm_90a", on that one alone (PTX ISA, ".target").
func Runs(target string, capability int) bool {
	var sm int
	var tail string
	n, _ := fmt.Sscanf(target, "sm_%d%s", &sm, &tail)
	switch {
	case n < 1 || sm < 10:
		return false
	case tail != "":
		return capability == sm
	}
	return capability >= sm
}

// Find gives the first device that runs a target. The error is a *Lacks that
// names what there is.
func (d *Driver) Find(target string) (Info, error) {
	all, err := d.Devices()
	if err != nil {
		return Info{}, err
	}
	var names []string
	for _, i := range all {
		if Runs(target, i.Capability) {
			return i, nil
		}
		names = append(names, i.String())
	}
	if len(all) == 0 {
		return Info{}, &Lacks{fmt.Sprintf("target %s: the NVIDIA driver finds no GPU", target)}
	}
	return Info{}, &Lacks{fmt.Sprintf("target %s: no GPU of this machine runs it; there is %s", target, strings.Join(names, "; "))}
}

// versions pairs versions of PTX with the first CUDA whose driver reads them
// (PTX ISA, "Release Notes"), newest first.
var versions = []struct {
	ptx  int // 86 for 8.6
	cuda Version
}{
	{91, 13010}, {90, 13000}, {88, 12090}, {87, 12080}, {86, 12070},
	{85, 12050}, {84, 12040}, {83, 12030}, {82, 12020}, {81, 12010}, {80, 12000},
	{78, 11080}, {77, 11070}, {76, 11060}, {75, 11050}, {74, 11040}, {73, 11030}, {72, 11020}, {71, 11010}, {70, 11000},
}

// needs is the least CUDA whose driver reads the text, by its ".version"; ok is
// false where the version is newer than any known here, which the driver is
// left to judge.
func needs(ptx string) (version string, cuda Version, ok bool) {
	for line := range strings.Lines(ptx) {
		rest, found := strings.CutPrefix(strings.TrimSpace(line), ".version")
		if !found {
			continue
		}
		version = strings.TrimSpace(rest)
		var major, minor int
		if n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor); n < 2 {
			return version, 0, false
		}
		v := 10*major + minor
		for i := len(versions) - 1; i >= 0; i-- {
			if v <= versions[i].ptx {
				return version, versions[i].cuda, true
			}
		}
		return version, 0, false
	}
	return "", 0, false
}

// Reads is nil where the driver reads text of its version of PTX; else a *Lacks
// names both versions.
func (d *Driver) Reads(ptx string) error {
	version, cuda, ok := needs(ptx)
	if ok && Version(d.version) < cuda {
		return &Lacks{fmt.Sprintf("the program is PTX %s, which needs a driver of CUDA %s or newer; this machine's is of CUDA %s", version, cuda, d.Version())}
	}
	return nil
}

// Use makes a device ready. The same device is made ready once.
func (d *Driver) Use(ordinal int) (*GPU, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if g := d.gpus[ordinal]; g != nil {
		return g, nil
	}
	info, err := d.info(ordinal)
	if err != nil {
		return nil, err
	}
	dev, r := d.api.Device(ordinal)
	if r != Success {
		return nil, d.fail("open the device", r)
	}
	g := &GPU{Info: info, driver: d, api: d.api}
	if g.context, r = d.api.RetainPrimary(dev); r != Success {
		return nil, d.fail("make the context of "+info.Name, r)
	}
	d.gpus[ordinal] = g
	return g, nil
}

// lost reports whether an error is one after which the driver refuses all
// further work of the process: those of a fault on the device ("Data types used
// by CUDA driver", CUresult).
func lost(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Result {
	case 214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719:
		return true
	}
	return false
}
