package matrix

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoginSaysWhatIsWrong(t *testing.T) {
	h := newHomeserver(t)
	at := func(path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, path) }
	}
	password := func() (string, error) { return "secret", nil }
	tests := []struct {
		name  string
		opts  LoginOptions
		path  string
		code  int
		reply string
		want  string
	}{
		{"no account", LoginOptions{Homeserver: h.URL}, "", 0, "", "needs an address"},
		{"no homeserver", LoginOptions{User: "starling"}, "", 0, "", "which homeserver"},
		{"a wrong password", LoginOptions{Homeserver: h.URL, User: "starling", Password: password}, "/login", 403, `{"errcode":"M_FORBIDDEN"}`, "does not accept this address and password"},
		{"no passwords here", LoginOptions{Homeserver: h.URL, User: "starling", Password: password}, "/login", 403, `{"errcode":"M_UNRECOGNIZED"}`, "does not take passwords"},
		{"a token that ended", LoginOptions{Homeserver: h.URL, Token: "t"}, "/whoami", 401, `{"errcode":"M_UNKNOWN_TOKEN"}`, "does not accept this access token"},
		{"a token without a device", LoginOptions{Homeserver: h.URL, Token: "t"}, "/whoami", 200, `{"user_id":"@starling:example.org"}`, "belongs to no device"},
		{"a token of another account", LoginOptions{Homeserver: h.URL, Token: "t", User: ana}, "", 0, "", "another account"},
		{"a server that is down", LoginOptions{Homeserver: "http://127.0.0.1:1", Token: "t"}, "", 0, "", "cannot be reached"},
		{"an address that is none", LoginOptions{Homeserver: "ftp://x", Token: "t"}, "", 0, "", "does not look like"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h.fail(tt.code, tt.reply, func(r *http.Request) bool { return tt.path != "" && at(tt.path)(r) })
			tt.opts.StateDir = t.TempDir()
			_, err := Login(t.Context(), tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if _, err := New(Config{StateDir: tt.opts.StateDir}); !errors.Is(err, ErrNotLoggedIn) {
				t.Errorf("after a failed login: %v", err)
			}
		})
	}
}

func TestSecondLoginIsRefused(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	if _, err := Login(t.Context(), LoginOptions{StateDir: acc.dir, Homeserver: h.URL, Token: "t"}); !errors.Is(err, ErrAlreadyLoggedIn) {
		t.Error(err)
	}
}

// A damaged database, or one without its key, is given up only when that is asked for.
func TestADamagedDatabaseIsReplacedWhenThatIsWanted(t *testing.T) {
	for _, file := range []string{databaseFile, keyFile} {
		h := newHomeserver(t)
		acc := newAccount(t, h)
		if err := os.WriteFile(filepath.Join(acc.dir, file), []byte("not what it was"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(acc.cfg); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", file, err)
		}
		o := LoginOptions{StateDir: acc.dir, Homeserver: h.URL, Token: "t"}
		if _, err := Login(t.Context(), o); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: logged in all the same: %v", file, err)
		}
		o.NewDevice = true
		if _, err := Login(t.Context(), o); err != nil {
			t.Errorf("%s: not logged in with a new device: %v", file, err)
		}
		acc.open().Close()
	}
}

func TestOtherAccountInTheConfigurationIsRefused(t *testing.T) {
	acc := newAccount(t, newHomeserver(t))
	acc.cfg.UserID = "@other:example.org"
	if _, err := New(acc.cfg); err == nil || !strings.Contains(err.Error(), "another Matrix account") {
		t.Error(err)
	}
}

func TestStateIsForItsOwnerOnly(t *testing.T) {
	acc := newAccount(t, newHomeserver(t))
	a := acc.open()
	defer a.Close()
	if err := writeRecoveryKey(filepath.Join(acc.dir, recoveryFile), "EsTc"); err != nil {
		t.Fatal(err)
	}
	if err := writeRecoveryKey(filepath.Join(acc.dir, recoveryFile), "EsTd"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(acc.dir)
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v (%v)", f.Name(), info.Mode(), err)
		}
		data, err := os.ReadFile(filepath.Join(acc.dir, f.Name()))
		if err != nil || strings.Contains(string(data), "syt_secret") {
			t.Errorf("%s holds the token in clear (%v)", f.Name(), err)
		}
	}
	old, _ := filepath.Glob(filepath.Join(acc.dir, recoveryFile+".old-*"))
	if len(old) != 1 {
		t.Errorf("the recovery key from before is lost: %v", old)
	}
}
