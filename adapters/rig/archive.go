package rig

import (
	"errors"
	"strings"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// Archive is a conversation kept as a test, in txtar format: what is said (talk), the transcript that is wanted (want), and the
// files that people attach or that are served. What stands before the first file says what it is about; a line "needs: rig"
// there says that real servers cannot play it though its directives could.
type Archive struct {
	Talk string
	Want string
	a    *txtar.Archive
}

// ReadArchive reads an archive; it must hold a file talk.
func ReadArchive(data []byte) (_ *Archive, err error) {
	defer func() {
		if recover() != nil { // txtar v1.16.0 does not survive the line "-- --"
			err = errors.New("the archive cannot be read")
		}
	}()
	r := &Archive{a: txtar.Parse(data)}
	found := false
	for _, f := range r.a.Files {
		switch f.Name {
		case "talk":
			r.Talk, found = string(f.Data), true
		case "want":
			r.Want = string(f.Data)
		}
	}
	if !found {
		return nil, errors.New("the archive holds no file talk")
	}
	return r, nil
}

// Plain tells whether the conversation can be held on real servers, too; PlainOnTwo whether it can where there is a second network.
func (r *Archive) Plain() bool      { return r.fitsServers() && Plain(r.Talk) }
func (r *Archive) PlainOnTwo() bool { return r.fitsServers() && plain(r.Talk, true) }

func (r *Archive) fitsServers() bool {
	for line := range strings.Lines(string(r.a.Comment)) {
		if strings.TrimSpace(line) == "needs: rig" {
			return false
		}
	}
	return true
}

// Files are what people attach and what is served.
func (r *Archive) Files() fstest.MapFS {
	files := fstest.MapFS{}
	for _, f := range r.a.Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return files
}

// With gives the archive with another transcript wanted.
func (r *Archive) With(want string) []byte {
	for i, f := range r.a.Files {
		if f.Name == "want" {
			r.a.Files[i].Data = []byte(want)
			return txtar.Format(r.a)
		}
	}
	r.a.Files = append(r.a.Files, txtar.File{Name: "want", Data: []byte(want)})
	return txtar.Format(r.a)
}
