package bot_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.mau.fi/util/dbutil"

	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
)

// onServer is a house whose database is on a server of its own.
func onServer(t *testing.T) (*house, *dbtest.Server) {
	t.Helper()
	server, err := dbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	url, err := server.Create("starling")
	if err != nil {
		t.Fatal(err)
	}
	h := build(t, rig.LikeMatrix())
	h.database = url
	h.start()
	h.room("!room", "ana*")
	return h, server
}

// The server is killed again and again while commands come in. What is not taken in is handed over again, as networks do; each
// command is answered once.
func TestADatabaseServerThatDiesLosesNothing(t *testing.T) {
	const commands, deaths, hands = 400, 8, 8
	h, server := onServer(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	var moments []int
	for range deaths {
		moments = append(moments, random.IntN(commands-hands))
	}
	slices.Sort(moments)
	taken := make(chan bool, commands)
	work := make(chan int)
	var group sync.WaitGroup
	for range hands {
		group.Go(func() {
			for i := range work {
				in := bot.Incoming{Room: "!room", Person: "@ana", Kind: bot.KindText, ID: fmt.Sprint("$", i), Text: fmt.Sprintf("/echo number %d.", i), Encrypted: true, Sent: h.clock.Now()}
				err := h.tries(in)
				for err != nil && !errors.Is(err, bot.ErrStopped) {
					err = h.tries(in)
				}
				if err != nil {
					t.Errorf("number %d: %v", i, err)
				}
				taken <- true
			}
		})
	}
	go func() {
		for i := range commands {
			work <- i
		}
		close(work)
	}()
	n := 0
	for _, at := range moments {
		for ; n < at; n++ {
			<-taken
		}
		if err := errors.Join(server.Kill(), server.Run()); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	if t.Failed() {
		t.Fatalf("log:\n%s", h.log)
	}
	h.settle()
	h.advance(time.Minute)
	got := map[string]int{}
	for _, text := range h.texts("!room") {
		got[text]++
	}
	for i := range commands {
		if n := got[fmt.Sprintf("number %d.", i)]; n != 1 {
			t.Errorf("number %d was answered %d times", i, n)
		}
	}
	if s := h.engine.Status(); !s.Idle() {
		t.Errorf("%+v", s)
	}
}

// One bot works on a database at a time, and one that has to wait changes no table of it. Where the server forgot who that is, the one that came last is it, and the other says so
// and stops before it stores anything more.
func TestOneBotWorksOnADatabase(t *testing.T) {
	h, _ := onServer(t)
	other := build(t, rig.LikeMatrix())
	other.database = h.database
	key, err := os.ReadFile(filepath.Join(h.dir, "starling.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other.dir, "starling.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	other.extra = []bot.Capability{{Name: "newer", Upgrades: dbutil.BuildUpgradeTable().WithFS(fstest.MapFS{
		"01-newer.sql": {Data: []byte("-- v0 -> v1: A newer release's table\nCREATE TABLE newer (id BIGINT NOT NULL PRIMARY KEY);\n")}}).Finish()}}
	if _, err := other.open(); !errors.Is(err, bot.ErrLocked) {
		t.Fatalf("a second bot: %v", err)
	}
	db, err := sql.Open("pgx", h.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var touched bool
	if err := db.QueryRow(`SELECT to_regclass('newer_version') IS NOT NULL`).Scan(&touched); err != nil || touched {
		t.Errorf("the second bot brought the tables of the first up to date: %v, %v", touched, err)
	}
	if _, err := db.Exec(`SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'`); err != nil {
		t.Fatal(err)
	}
	other.start()
	if err := h.engine.Do(t.Context(), "test", func(tx *bot.Tx) error { return tx.Exec(`INSERT INTO meta (key, value) VALUES ('late', '')`) }); !errors.Is(err, bot.ErrStopped) {
		t.Errorf("the first can still store: %v", err)
	}
	if err := <-h.ended; err == nil || !strings.Contains(err.Error(), "another Starling") {
		t.Errorf("it ended with %v", err)
	}
	h.ended <- nil
	other.do(func(tx *bot.Tx) error {
		late, err := tx.One(`SELECT value FROM meta WHERE key = 'late'`, nil, new(string))
		if late {
			t.Error("what the first stored is there")
		}
		return err
	})
}
