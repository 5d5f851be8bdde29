package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"syscall"
	"testing"

	"starling/bot"
)

// TestEveryFaultThatTheDoctorFindsHasARemedy reads it where findings are made: most faults cannot be had in a test.
func TestEveryFaultThatTheDoctorFindsHasARemedy(t *testing.T) {
	named := func(e ast.Expr, name string) bool {
		switch e := e.(type) {
		case *ast.Ident:
			return e.Name == name
		case *ast.SelectorExpr:
			return e.Sel.Name == name
		}
		return false
	}
	empty := func(e ast.Expr) bool {
		lit, ok := e.(*ast.BasicLit)
		return ok && (lit.Value == `""` || lit.Value == "``")
	}
	matters := func(e ast.Expr) bool { return named(e, "LevelWrong") || named(e, "LevelWarning") }
	faults := 0
	for _, file := range []string{"doctor.go", "bot/look.go", "adapters/matrix/check.go"} {
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			remedy := false
			switch n := n.(type) {
			case *ast.CallExpr:
				if len(n.Args) != 3 || !named(n.Fun, "say") || !matters(n.Args[0]) {
					return true
				}
				remedy = !empty(n.Args[2])
			case *ast.CompositeLit:
				has := func(field string, fits func(ast.Expr) bool) bool {
					return slices.ContainsFunc(n.Elts, func(e ast.Expr) bool {
						kv, ok := e.(*ast.KeyValueExpr)
						return ok && named(kv.Key, field) && fits(kv.Value)
					})
				}
				if !has("Level", matters) {
					return true
				}
				remedy = has("Remedy", func(e ast.Expr) bool { return !empty(e) })
			default:
				return true
			}
			faults++
			if !remedy {
				t.Errorf("%s: a ✗ or ! without what to do about it", set.Position(n.Pos()))
			}
			return true
		})
	}
	if faults < 30 {
		t.Errorf("only %d faults were found: this tests nothing", faults)
	}
}

func TestTheDoctorLooksAtTheDisk(t *testing.T) {
	disk := func(megabytes uint64) syscall.Statfs_t {
		return syscall.Statfs_t{Bsize: 4096, Bavail: megabytes << 20 / 4096}
	}
	for _, c := range []struct {
		disk syscall.Statfs_t
		want bot.Level
		text string
	}{
		{disk(5000), bot.LevelFine, "5000 MB are free"},
		{disk(900), bot.LevelWarning, "900 MB are free"},
		{disk(50), bot.LevelWrong, "50 MB are free"},
		{syscall.Statfs_t{Type: tmpfs, Bsize: 4096, Bavail: 1 << 30}, bot.LevelWrong, "lies in memory"},
	} {
		f := diskFinding(c.disk)
		if f.Level != c.want || !strings.Contains(f.Text, c.text) || (f.Remedy == "") != (c.want == bot.LevelFine) {
			t.Errorf("the doctor finds %+v, want %q", f, c.text)
		}
	}
}
