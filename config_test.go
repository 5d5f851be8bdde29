package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheShippedConfigurationIsTheDefault(t *testing.T) {
	c, err := loadConfig("config.toml", true)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Matrix.Invite, want.Signal.Invite = []string{}, []string{}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("config.toml says %+v, the default is %+v", c, want)
	}
}

func TestAWrongConfigurationIsRefusedByRowAndKey(t *testing.T) {
	const secret = "hunter2-hunter2"
	for _, c := range []struct{ text, want string }{
		{"[bot]\nnme = \"" + secret + "\"\n", "row 2: bot.nme is no key"},
		{"[matrix]\n\npassword = \"" + secret + "\"\n", "row 3: matrix.password is no key"},
		{"[bot]\nlanguage = \"" + secret + "\"\n", "row 2: bot.language is one of en, es"},
		{"[matrix]\nhomeserver = \"https://bot:" + secret + "@example.org\"\n", "row 2: matrix.homeserver is a web address"},
		{"[matrix]\nuser = \"" + secret + "\"\n", "row 2: matrix.user is a Matrix address"},
		{"[matrix]\ninvite = [\"" + secret + "\"]\n", "row 2: matrix.invite holds addresses"},
		{"[log]\nlevel = 3 # " + secret + "\n", "row 2: the value of log.level"},
		{"[metrics]\nlisten = \"0.0.0.0:9464\" # " + secret + "\n", "row 2: metrics.listen is reachable from outside"},
		{"[metrics]\nlisten = \"" + secret + "\"\n", "row 2: metrics.listen is an address and a port"},
		{"[bot\n" + secret, "row 1: this is not TOML"},
	} {
		_, err := loadConfig(write(t, c.text), true)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the error repeats a value: %v", c.text, err)
		}
	}
}
