package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"starling/bot"
)

// nowhere is a network without a network: what is sent is delivered at once.
type nowhere struct {
	inbox chan bot.Inbox
}

func (n *nowhere) Name() string { return "nowhere" }
func (n *nowhere) Abilities() bot.Abilities {
	return bot.Abilities{Threads: true, Edits: true, Reactions: true, Idempotent: true}
}
func (n *nowhere) Run(ctx context.Context, in bot.Inbox) error {
	n.inbox <- in
	<-ctx.Done()
	return nil
}
func (n *nowhere) Send(_ context.Context, out bot.Outgoing) (string, error) { return "$" + out.ID, nil }

// running starts a bot with rooms on a durable database of its own.
func running(b *testing.B, rooms int) (*bot.Engine, bot.Inbox) {
	b.Helper()
	cfg := defaultConfig()
	cfg.State.Dir = b.TempDir()
	caps, err := content(cfg)
	if err != nil {
		b.Fatal(err)
	}
	e, err := engine(cfg, caps, zerolog.Nop(), nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &nowhere{inbox: make(chan bot.Inbox, 1)}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx, n) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	in := <-n.inbox
	var batch []bot.Incoming
	for i := range rooms {
		batch = append(batch, bot.Incoming{Room: fmt.Sprintf("!room%d", i), Kind: bot.KindRoom, RoomChange: &bot.RoomChange{Joined: true, Encrypted: true,
			Name: fmt.Sprintf("Room %d", i), Members: map[string]bot.MemberInfo{fmt.Sprintf("@ana%d", i): {Name: "Ana", Moderator: true}, fmt.Sprintf("@luc%d", i): {Name: "Luc"}}}})
	}
	if err := in.Deliver(ctx, batch...); err != nil {
		b.Fatal(err)
	}
	return e, in
}

// BenchmarkCommands handles commands (each: recognised, remembered, answered, the answer delivered) as they come in a sync
// response of 50, beside the bare rate of durable single-row commits on the same disk, in the same run.
func BenchmarkCommands(b *testing.B) {
	commits := durableCommits(b)
	const rooms, burst = 50, 50
	e, in := running(b, rooms)
	ctx := context.Background()
	b.ResetTimer()
	start := time.Now()
	done := 0
	for done < b.N {
		var batch []bot.Incoming
		for i := 0; i < burst && done < b.N; i++ {
			room := done % rooms
			batch = append(batch, bot.Incoming{Room: fmt.Sprintf("!room%d", room), Person: fmt.Sprintf("@ana%d", room), Name: "Ana", Kind: bot.KindText,
				ID: "$" + strconv.Itoa(done), Text: "/principles 2", Encrypted: true, Sent: time.Now()})
			done++
		}
		if err := in.Deliver(ctx, batch...); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Wait(ctx, bot.Status.Idle); err != nil {
		b.Fatal(err)
	}
	rate := float64(b.N) / time.Since(start).Seconds()
	b.ReportMetric(rate, "commands/s")
	b.ReportMetric(commits, "commits/s")
	b.ReportMetric(rate/commits, "commands/commit")
	if n := e.Status().Errors; n > 0 {
		b.Fatalf("%d errors", n)
	}
}

// durableCommits is how many single-row transactions a second SQLite makes durable here (WAL, synchronous FULL).
func durableCommits(b *testing.B) float64 {
	b.Helper()
	db, err := sql.Open("sqlite3-fk-wal-fullsync", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_txlock=immediate")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE rows (id INTEGER PRIMARY KEY, text BLOB)`); err != nil {
		b.Fatal(err)
	}
	row := make([]byte, 500)
	start, n := time.Now(), 0
	for ; time.Since(start) < 2*time.Second; n++ {
		if _, err := db.Exec(`INSERT INTO rows (text) VALUES (?)`, row); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}
