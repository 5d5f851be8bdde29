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
	cfg.Limits.PersonPerMinute, cfg.Limits.RoomPerMinute = 0, 0 // what is refused costs nothing, and would be measured with the rest
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

// BenchmarkCommands handles commands (each: recognised, remembered, answered, the answer delivered) as they come, fifty or one
// in a sync response.
func BenchmarkCommands(b *testing.B) {
	for _, burst := range []int{50, 1} {
		b.Run(fmt.Sprintf("burst=%d", burst), func(b *testing.B) { handle(b, burst) })
	}
}

// handle measures commands in bursts. Between slices of them it measures the bare rate of durable single-row commits on the
// same disk for as long, so that whatever else the machine does slows both alike.
func handle(b *testing.B, burst int) {
	const rooms, slice = 50, 1000
	bare := newBareCommits(b)
	e, in := running(b, rooms)
	ctx := context.Background()
	b.ResetTimer()
	for done := 0; done < b.N; {
		start, before := time.Now(), done
		for done < min(b.N, before+slice) {
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
		b.StopTimer()
		bare.commit(time.Since(start))
		b.StartTimer()
	}
	b.StopTimer()
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "commands/s")
	b.ReportMetric(bare.rate(), "commits/s")
	b.ReportMetric(rate/bare.rate(), "commands/commit")
	if n := e.Status().Errors; n > 0 {
		b.Fatalf("%d errors", n)
	}
}

// bareCommits makes single-row transactions durable in a second SQLite (WAL, synchronous FULL), and nothing else.
type bareCommits struct {
	b     *testing.B
	db    *sql.DB
	row   []byte
	done  int
	spent time.Duration
}

func newBareCommits(b *testing.B) *bareCommits {
	b.Helper()
	db, err := sql.Open("sqlite3-fk-wal-fullsync", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_txlock=immediate")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	if _, err := db.Exec(`CREATE TABLE rows (id INTEGER PRIMARY KEY, text BLOB)`); err != nil {
		b.Fatal(err)
	}
	return &bareCommits{b: b, db: db, row: make([]byte, 500)}
}

func (c *bareCommits) commit(duration time.Duration) {
	start := time.Now()
	for time.Since(start) < duration {
		if _, err := c.db.Exec(`INSERT INTO rows (text) VALUES (?)`, c.row); err != nil {
			c.b.Fatal(err)
		}
		c.done++
	}
	c.spent += time.Since(start)
}

func (c *bareCommits) rate() float64 { return float64(c.done) / c.spent.Seconds() }
