// Noskip runs `go test` with the arguments it is given and prints what go test prints. Beyond that it fails when any
// test was skipped or none ran at all: what should run and cannot is a failure here.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		fatal(err)
	}
	if err := cmd.Start(); err != nil {
		fatal(err)
	}
	report := read(out, os.Stdout)
	failed := cmd.Wait()
	fmt.Printf("%d tests passed, %d failed, %d skipped\n", report.passed, report.failed, len(report.skipped))
	for _, name := range report.skipped {
		fmt.Printf("skipped, which none may be: %s\n", name)
	}
	if failed != nil || len(report.skipped) > 0 {
		os.Exit(1)
	}
	if report.passed == 0 {
		fatal(fmt.Errorf("no test ran"))
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "noskip:", err)
	os.Exit(1)
}

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, Test, Output string
}

type report struct {
	passed, failed int
	skipped        []string
}

// read writes to w what plain `go test` would show: the packages' lines, and the whole output of tests that failed.
func read(r io.Reader, w io.Writer) report {
	var all report
	said := map[string]*strings.Builder{} // what each test wrote, until it is known whether it failed
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(w, lines.Text())
			continue
		}
		name := e.Package + " " + e.Test
		switch {
		case e.Action == "build-output", e.Action == "output" && e.Test == "":
			if !strings.HasPrefix(e.Output, "PASS") {
				fmt.Fprint(w, e.Output)
			}
		case e.Action == "output":
			if said[name] == nil {
				said[name] = new(strings.Builder)
			}
			said[name].WriteString(e.Output)
		case e.Test == "":
			// start, pass, fail, skip of a package: its own line has said so
		case e.Action == "pass":
			all.passed++
			delete(said, name)
		case e.Action == "skip":
			all.skipped = append(all.skipped, name)
			delete(said, name)
		case e.Action == "fail":
			all.failed++
			if said[name] != nil {
				fmt.Fprint(w, said[name])
			}
			delete(said, name)
		}
	}
	for _, unfinished := range said { // a panic or the end of the time
		fmt.Fprint(w, unfinished)
	}
	return all
}
