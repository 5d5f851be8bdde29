package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// script is a Node process that does what it is told: one JSON call a line, answered in any order.
type script struct {
	name    string
	process *process
	log     string
	hello   chan reply // what it says before it is asked

	mu     sync.Mutex // guards what follows
	in     io.WriteCloser
	calls  map[int]chan reply
	number int
}

// reply is one answer of a script.
type reply struct {
	Call  int
	OK    json.RawMessage
	Error string
}

// startScript runs a file with Node; its complaints go to a log file.
func startScript(logFile, file string, args ...string) (*script, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w: `make setup` says how to get it", err)
	}
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(node, append([]string{file}, args...)...)
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own, not StdoutPipe: that one is closed when the process ends, perhaps before it was read to its end.
	out, outWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = outWriter
	s := &script{name: filepath.Base(file), in: in, log: logFile, hello: make(chan reply, 1), calls: make(map[int]chan reply)}
	s.calls[0] = s.hello
	s.process, err = start(cmd)
	outWriter.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	go s.read(out)
	return s, nil
}

// read hands every answer to the call that waits for it, until the process ends.
func (s *script) read(out io.ReadCloser) {
	defer out.Close()
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		var r reply
		if err := json.Unmarshal(scanner.Bytes(), &r); err != nil {
			r.Error = fmt.Sprintf("%s wrote %q: %v", s.name, scanner.Text(), err)
		}
		s.mu.Lock()
		if waiting := s.calls[r.Call]; waiting != nil {
			waiting <- r
			delete(s.calls, r.Call)
		}
		s.mu.Unlock()
	}
}

// stop closes the input, at which the process ends by itself.
func (s *script) stop() error {
	s.mu.Lock()
	s.in.Close()
	s.mu.Unlock()
	select {
	case <-s.process.done:
		return s.process.err
	case <-time.After(stopGrace):
		return s.process.signal(syscall.SIGKILL, stopGrace)
	}
}

// do makes one call. The script itself ends a wait in time, with an error that says what happened instead; the little
// more that is added here is for a script that hangs.
func (s *script) do(ctx context.Context, who, verb string, args map[string]any, out any) error {
	timeout := Patience
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	line := map[string]any{"who": who, "do": verb, "timeout": timeout.Milliseconds()}
	for key, value := range args {
		line[key] = value
	}
	answer := make(chan reply, 1)
	s.mu.Lock()
	s.number++
	number := s.number
	s.calls[number] = answer
	line["call"] = number
	data, err := json.Marshal(line)
	if err == nil {
		_, err = s.in.Write(append(data, '\n'))
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.await(answer, verb, timeout, out)
}

// await waits for one answer.
func (s *script) await(answer <-chan reply, verb string, timeout time.Duration, out any) error {
	select {
	case r := <-answer:
		if r.Error != "" {
			return errors.New(r.Error)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(r.OK, out)
	case <-s.process.done:
		return fmt.Errorf("%s ended: %v\n%s", s.name, s.process.err, lastLines(s.log, 20))
	case <-time.After(timeout + Patience):
		return fmt.Errorf("%s did not answer %q", s.name, verb)
	}
}

// asMap is a value as the arguments of a call.
func asMap(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var args map[string]any
	return args, json.Unmarshal(data, &args)
}
