package bot

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v6"
)

const (
	jobsAtOnce = 4
	jobTimeout = 30 * time.Second
)

// JobOpenDirect opens a direct chat; its payload is JobDirect, its result the same with Room filled in.
const JobOpenDirect = "direct"

// JobDirect names the person whose direct chat is opened.
type JobDirect struct {
	Adapter string `json:"adapter"`
	Person  string `json:"person"`
	Room    string `json:"room,omitempty"`
}

// jobRunner does the work that needs the outside: outside any transaction, with a timeout, tried again until it is too late.
type jobRunner struct {
	e      *Engine
	wakeUp chan struct{}
	slots  chan struct{}

	// Under the engine's lock:
	running map[string]bool // by id, until the result is handed in
	resting int             // of these, what waits to be tried again
	woken   int             // wakes so far
	begun   int             // of these, what was answered by a look at the table
}

func newJobRunner(e *Engine) *jobRunner {
	return &jobRunner{e: e, wakeUp: make(chan struct{}, 1), running: map[string]bool{}, slots: make(chan struct{}, jobsAtOnce)}
}

func (j *jobRunner) wake() {
	j.e.mu.Lock()
	j.woken++
	j.e.mu.Unlock()
	select {
	case j.wakeUp <- struct{}{}:
	default:
	}
}

func (j *jobRunner) start(ctx context.Context) {
	j.wake()
	j.e.goes(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-j.e.stopped:
				return
			case <-j.wakeUp:
			}
			j.e.mu.Lock()
			woken := j.woken
			j.e.mu.Unlock()
			if err := j.begin(ctx); err != nil && !errors.Is(err, ErrStopped) {
				j.e.log.Error().Err(err).Msg("jobs cannot be read")
			}
			j.e.mu.Lock()
			j.begun = woken
			j.e.mu.Unlock()
			j.e.note()
		}
	})
}

type jobRow struct {
	id, kind, topic, ref string
	room                 RoomID
	person               PersonID
	payload              []byte
	until                time.Time
}

func (j *jobRunner) begin(ctx context.Context) error {
	var all []jobRow
	err := j.e.Do(ctx, "jobs", func(tx *Tx) error {
		return tx.Each(`SELECT id, kind, topic, ref, room, person, payload, until FROM jobs ORDER BY id`, nil, func(row Row) error {
			var r jobRow
			var sealed []byte
			var until int64
			if err := row.Scan(&r.id, &r.kind, &r.topic, &r.ref, &r.room, &r.person, &sealed, &until); err != nil {
				return err
			}
			payload, err := tx.Open("jobs", "payload", r.id, sealed)
			r.payload, r.until = []byte(payload), fromMillis(until)
			all = append(all, r)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, r := range all {
		j.e.mu.Lock()
		busy := j.running[r.id]
		j.running[r.id] = true
		j.e.mu.Unlock()
		if busy {
			continue
		}
		j.e.goes(func() {
			select {
			case j.slots <- struct{}{}:
				defer func() { <-j.slots }()
			case <-ctx.Done():
				return
			}
			j.do(ctx, r)
			j.e.mu.Lock()
			delete(j.running, r.id)
			j.e.mu.Unlock()
			j.e.note()
		})
	}
	return nil
}

// do runs one job to its end and hands the result in, once.
func (j *jobRunner) do(ctx context.Context, r jobRow) {
	pause := backoff.NewExponentialBackOff()
	pause.RandomizationFactor = 0 // a conversation played again waits as long; four jobs at once are no herd
	result := &JobResult{ID: r.id, Kind: r.kind}
	for {
		out, err := j.call(ctx, r)
		if err == nil {
			result.Result = out
			break
		}
		if ctx.Err() != nil {
			return // after the restart it is begun again
		}
		var known *SendError
		wait := pause.NextBackOff()
		if errors.As(err, &known) {
			wait = max(wait, known.After)
		}
		if known != nil && known.Permanent || j.e.clock.Now().Add(wait).After(r.until) {
			j.e.log.Warn().Err(err).Str("kind", r.kind).Msg("a job was given up")
			result.Failed = true
			break
		}
		again := make(chan struct{})
		j.rest(1)
		stop := j.e.clock.AfterFunc(wait, func() { j.rest(-1); close(again) })
		select {
		case <-again:
		case <-ctx.Done():
			stop()
			return
		}
	}
	j.e.submit("job result", func(tx *Tx) error { return tx.jobDone(r, result) })
}

func (j *jobRunner) rest(by int) {
	j.e.mu.Lock()
	j.resting += by
	j.e.mu.Unlock()
	j.e.note()
}

func (j *jobRunner) call(ctx context.Context, r jobRow) (result json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	if r.kind == JobOpenDirect {
		var p JobDirect
		if err := json.Unmarshal(r.payload, &p); err != nil {
			return nil, &SendError{Err: err, Permanent: true}
		}
		opener, ok := j.e.adapters[p.Adapter].(DirectOpener)
		if !ok {
			return nil, &SendError{Err: errors.New("the network opens no direct chats"), Permanent: true}
		}
		room, err := opener.OpenDirect(ctx, p.Person)
		if err != nil {
			return nil, err
		}
		p.Room = room
		return json.Marshal(p)
	}
	for _, a := range j.e.adapters {
		if runner, ok := a.(JobRunner); ok && slices.Contains(runner.Jobs(), r.kind) {
			err = guard(func() (err error) { result, err = runner.RunJob(ctx, r.kind, r.payload); return err })
			return result, err
		}
	}
	return nil, &SendError{Err: errors.New("nobody runs jobs of this kind"), Permanent: true}
}

// jobDone takes a job's result in, once.
func (tx *Tx) jobDone(r jobRow, result *JobResult) error {
	n, err := tx.Changed(`DELETE FROM jobs WHERE id = $1`, r.id)
	if err != nil || n == 0 {
		return err
	}
	h := tx.e.topics[r.topic]
	if h == nil {
		return nil
	}
	room, err := tx.Room(r.room)
	if err != nil {
		return err
	}
	person, err := tx.Person(r.person)
	if err != nil {
		return err
	}
	t, err := tx.turn(&Incoming{Adapter: room.Adapter, Room: room.Address, Kind: KindJobResult, Job: result}, room, person, "")
	if err != nil {
		return err
	}
	return t.attempt(func() error { return h(t, r.ref, Answer{Job: result}) })
}
