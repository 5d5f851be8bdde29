package bot

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v6"
)

const (
	jobsAtOnce = 4 // of each kind
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

	// Under the engine's lock:
	slots   map[string]chan struct{} // by kind: one that hangs holds up none of another kind
	running map[string]bool          // by id, until the result is stored
	resting int                      // of these, what waits to be tried again
	woken   int                      // wakes so far
	begun   int                      // of these, what was answered by a look at the table
}

func newJobRunner(e *Engine) *jobRunner {
	return &jobRunner{e: e, wakeUp: make(chan struct{}, 1), running: map[string]bool{}, slots: map[string]chan struct{}{}}
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
			if err := j.begin(ctx); err != nil && ctx.Err() == nil {
				j.e.log.Error().Err(err).Msg("jobs cannot be read")
				j.e.countError()
				j.e.clock.AfterFunc(storeAgain, j.wake)
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

// begin starts every job that is not running yet.
func (j *jobRunner) begin(ctx context.Context) error {
	rows, err := j.e.db.Query(ctx, `SELECT id, kind FROM jobs ORDER BY id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, kind string
		if err := rows.Scan(&id, &kind); err != nil {
			return err
		}
		j.e.mu.Lock()
		busy := j.running[id]
		j.running[id] = true
		if j.slots[kind] == nil {
			j.slots[kind] = make(chan struct{}, jobsAtOnce)
		}
		slot := j.slots[kind]
		j.e.mu.Unlock()
		if busy {
			continue
		}
		j.e.goes(func() {
			j.do(ctx, id, slot)
			j.e.mu.Lock()
			delete(j.running, id)
			j.e.mu.Unlock()
			j.e.note()
		})
	}
	return rows.Err()
}

// do runs one job to its end and hands the result in, once.
func (j *jobRunner) do(ctx context.Context, id string, slot chan struct{}) {
	pause := backoff.NewExponentialBackOff()
	pause.RandomizationFactor = 0 // a conversation played again waits as long; four jobs at once are no herd
	for {
		select {
		case slot <- struct{}{}:
		case <-ctx.Done():
			return
		}
		r, result, err := j.try(ctx, id)
		<-slot
		if ctx.Err() != nil && result == nil {
			return // after the restart it is begun again
		}
		wait := pause.NextBackOff()
		var known *SendError
		switch {
		case r == nil && err == nil:
			return // it was done, or forgotten
		case r == nil:
			j.e.log.Error().Err(err).Msg("a job cannot be read")
			j.e.countError()
		case result == nil:
			if errors.As(err, &known) {
				wait = max(wait, known.After)
			}
			if known != nil && known.Permanent || j.e.clock.Now().Add(wait).After(r.until) {
				j.e.log.Warn().Str("error", unquoted(err)).Str("kind", r.kind).Msg("a job was given up")
				result = &JobResult{ID: r.id, Kind: r.kind, Failed: true}
			}
		}
		for result != nil {
			err := j.e.Do(context.WithoutCancel(ctx), "job result", func(tx *Tx) error { return tx.jobDone(r, result) })
			if err == nil || !j.rest(ctx, storeAgain) {
				return
			}
		}
		if !j.rest(ctx, wait) {
			return
		}
	}
}

// rest waits; false when the engine ends meanwhile.
func (j *jobRunner) rest(ctx context.Context, wait time.Duration) bool {
	count := func(by int) {
		j.e.mu.Lock()
		j.resting += by
		j.e.mu.Unlock()
		j.e.note()
	}
	again := make(chan struct{})
	stop := j.e.clock.AfterFunc(wait, func() { count(-1); close(again) })
	count(1) // only now: who looks at the status may move the clock
	select {
	case <-again:
		return true
	case <-ctx.Done():
	case <-j.e.stopped:
	}
	stop()
	return false
}

// try reads a job and runs it once. There is no row when it is no longer to be done, and no result when it failed.
func (j *jobRunner) try(ctx context.Context, id string) (*jobRow, *JobResult, error) {
	r := jobRow{id: id}
	var sealed []byte
	var until int64
	err := j.e.db.QueryRow(ctx, `SELECT kind, topic, ref, room, person, payload, until FROM jobs WHERE id = $1`, id).
		Scan(&r.kind, &r.topic, &r.ref, &r.room, &r.person, &sealed, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if r.payload, err = j.e.box.Open(place("jobs", "payload", id), sealed); err != nil {
		return &r, nil, &SendError{Err: err, Permanent: true}
	}
	r.until = fromMillis(until)
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	result := &JobResult{ID: id, Kind: r.kind}
	if err := guard(func() (err error) { result.Result, err = j.call(ctx, r); return err }); err != nil {
		return &r, nil, err
	}
	return &r, result, nil
}

func (j *jobRunner) call(ctx context.Context, r jobRow) (json.RawMessage, error) {
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
			return runner.RunJob(ctx, r.kind, r.payload)
		}
	}
	return nil, &SendError{Err: errors.New("nobody runs jobs of this kind"), Permanent: true}
}

// jobDone takes a job's result in, once. A handler that breaks does not make the job be done again.
func (tx *Tx) jobDone(r *jobRow, result *JobResult) error {
	n, err := tx.Changed(`DELETE FROM jobs WHERE id = $1`, r.id)
	if err != nil || n == 0 {
		return err
	}
	h := tx.e.topics[r.topic]
	if h == nil {
		return nil
	}
	return tx.try("a job's result could not be handled", r.topic, func() error {
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
	})
}
