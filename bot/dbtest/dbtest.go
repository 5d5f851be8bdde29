// Package dbtest runs the tests of the engine, and of what is built on it, on PostgreSQL: one server for each test program, on a
// socket of its own, and one database for each state directory. With STARLING_TEST_DATABASE=postgres all engines that ask get
// one; without it they stay with SQLite.
package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"
)

// Postgres is whether this run of the tests is the one on PostgreSQL.
func Postgres() bool { return os.Getenv("STARLING_TEST_DATABASE") == "postgres" }

var (
	mu     sync.Mutex
	shared *Server
	idle   []string              // databases in which nothing is
	used   = map[string]string{} // by state directory
	made   int
)

// Main is what TestMain of a package does that uses For.
func Main(m *testing.M) {
	code := m.Run()
	if shared != nil {
		if err := shared.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// For gives the database of a state directory, for as long as the test runs; "" is SQLite.
func For(t testing.TB, dir string) string {
	t.Helper()
	if _, file := files.Load(strings.Split(t.Name(), "/")[0]); file || !Postgres() {
		return ""
	}
	return On(t, dir)
}

var files sync.Map // names of tests

// File says that a test is about SQLite's file: For gives it no other.
func File(t testing.TB) { files.Store(strings.Split(t.Name(), "/")[0], true) }

// On is For, whatever this run is.
func On(t testing.TB, dir string) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if url := used[dir]; url != "" {
		return url
	}
	if shared == nil {
		var err error
		if shared, err = Start(); err != nil {
			t.Fatal(err)
		}
	}
	if len(idle) == 0 {
		made++
		url, err := shared.Create(fmt.Sprint("test", made))
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, url)
	}
	url := idle[len(idle)-1]
	idle, used[dir] = idle[:len(idle)-1], url
	t.Cleanup(func() {
		err := empty(url)
		mu.Lock()
		defer mu.Unlock()
		delete(used, dir)
		if err != nil {
			t.Error(err)
			return
		}
		idle = append(idle, url)
	})
	return url
}

// empty deletes every row but those that say which version the tables have.
func empty(url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(`DO $$ DECLARE t text; BEGIN
		FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '%version' AND tablename <> 'database_owner' LOOP
			EXECUTE format('DELETE FROM %I', t);
		END LOOP; END $$`)
	return err
}

// Server is a PostgreSQL server.
type Server struct {
	bin, dir string
	cred     *syscall.Credential
	cmd      *exec.Cmd
	out      bytes.Buffer
	ended    chan error
}

// Start makes a server and waits until it answers. It is as durable as a kill of it is survived, which a power cut need not be.
func Start() (s *Server, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	s = &Server{bin: bin, dir: dir}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if os.Geteuid() == 0 { // as root it refuses
		if s.cred, err = unprivileged(); err != nil {
			return nil, err
		}
		if err = os.Chown(dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return nil, err
		}
	}
	initdb := s.command("initdb", "-D", s.data(), "-A", "trust", "-U", "starling", "-E", "UTF8", "--no-locale", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("PostgreSQL cannot be set up: %w\n%s", err, out)
	}
	if err = s.Run(); err != nil {
		return nil, err
	}
	return s, nil
}

// binaries finds PostgreSQL 15 or later, where Debian puts it.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	for _, bin := range found {
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
		if _, gone := os.Stat(filepath.Join(bin, "initdb")); err == nil && gone == nil && version >= 15 {
			return bin, nil
		}
	}
	return "", errors.New("the tests need PostgreSQL 15 or later: `make setup`, or apt-get install postgresql")
}

func unprivileged() (*syscall.Credential, error) {
	var u *user.User
	var err error
	for _, name := range []string{"postgres", "nobody"} {
		if u, err = user.Lookup(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	orphaned(cmd.SysProcAttr)
	return cmd
}

// Run starts the server again, after Kill, and waits until it answers.
func (s *Server) Run() error {
	s.out.Reset()
	s.cmd = s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=400")
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the server ends with the thread that began it
		err := s.cmd.Start()
		started <- err
		if err == nil {
			ended <- s.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.ended = ended
	for {
		ready := s.command("pg_isready", "-q", "-h", s.dir, "-t", "10")
		if ready.Run() == nil {
			return nil
		}
		select {
		case err := <-s.ended:
			return fmt.Errorf("PostgreSQL ended: %v\n%s", err, s.out.String())
		default:
		}
	}
}

// URL is the address of a database on it.
func (s *Server) URL(name string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=starling", name, strings.ReplaceAll(s.dir, "/", "%2F"))
}

// Create makes an empty database.
func (s *Server) Create(name string) (url string, err error) {
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	_, err = db.ExecContext(context.Background(), "CREATE DATABASE "+name)
	return s.URL(name), err
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() error {
	if err := syscall.Kill(s.cmd.Process.Pid, syscall.SIGQUIT); err != nil {
		return err
	}
	<-s.ended
	return nil
}

// Close ends the server and deletes it.
func (s *Server) Close() error { return errors.Join(s.Kill(), os.RemoveAll(s.dir)) }
