package main

import (
	"slices"
	"strings"
	"testing"
)

func TestSkippedTestsAreNamedAndOnlyFailuresAreShown(t *testing.T) {
	const in = `{"Action":"output","Package":"p","Test":"TestGood","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"want 1, got 2\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"skip","Package":"p","Test":"TestLazy"}
{"Action":"output","Package":"p","Test":"TestHung","Output":"still going\n"}
not json
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"skip","Package":"empty"}
`
	var out strings.Builder
	got := read(strings.NewReader(in), &out)
	if got.passed != 1 || got.failed != 1 || !slices.Equal(got.skipped, []string{"p TestLazy"}) {
		t.Errorf("report %+v, want one passed, one failed, TestLazy skipped", got)
	}
	want := "want 1, got 2\nnot json\nFAIL\tp\t0.1s\nstill going\n"
	if out.String() != want {
		t.Errorf("shown:\n%s\nwant:\n%s", out.String(), want)
	}
}
