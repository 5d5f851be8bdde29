package when

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

func decode(s string) (rune, int) { return utf8.DecodeRuneInString(s) }

// ymd is a day of the calendar; a year of 0 is the next such day.
type ymd struct{ y, m, d int }

// clock is a time of day as it was written.
type clock struct {
	h, m, s int
	lead    bool // 07:00: nobody writes so with am and pm in mind
	marked  bool // minutes or a word for "hour" were written
	twelve  bool // "half past seven": on the dial, never by 24 hours
	digits  int
}

// numeric reads what begins with toks[0] when no phrase does: a number in one of its forms, or a symbol.
// It returns how many tokens it took, at least one.
func (lex *lexicon) numeric(toks []token) (item, int) {
	t := toks[0]
	if t.kind == punct {
		if t.text == "," || t.text == "،" {
			return item{comma: true}, 1
		}
		if off, n := offset(toks); n > 0 {
			return item{offset: &off}, n
		}
		return item{symbol: t.text}, 1
	}
	if t.kind == word {
		return item{}, 1
	}
	// shape spells out what is glued together: "9-9-9" for three numbers with hyphens.
	nums, seps, used := shape(toks)
	switch {
	case len(nums) >= 3 && (seps[:2] == "--" || seps[:2] == "//") && len(toks[0].text) == 4:
		if len(toks[2].text) != 2 || len(toks[4].text) != 2 || len(nums) > 3 {
			return item{}, used
		}
		it := item{dates: []ymd{{nums[0], nums[1], nums[2]}}, iso: true}
		if len(toks) > 6 && toks[5].text == "t" && toks[5].glued && toks[6].kind == number && toks[6].glued {
			it.isoT = true
			return it, 6
		}
		return it, 5
	case len(nums) == 3 && (seps[:2] == "//" || seps[:2] == "--") && len(toks[4].text) == 4:
		return item{dates: exchanged(nums[0], nums[1], nums[2])}, used
	case len(nums) == 3 && seps[:2] == "//" && len(toks[4].text) == 2:
		// Two digits for the year: 26/12/27 may begin with it as well as end with it.
		dates := exchanged(nums[0], nums[1], 2000+nums[2])
		return item{dates: append(dates, ymd{2000 + nums[0], nums[1], nums[2]})}, used
	case len(nums) == 2 && seps[:1] == "/":
		return item{dates: exchanged(nums[0], nums[1], 0)}, used
	case len(nums) == 3 && seps[:2] == ".." && len(toks[4].text) == 4:
		if lex.lang == "en" {
			return item{dates: exchanged(nums[0], nums[1], nums[2])}, used
		}
		return item{dates: []ymd{{nums[2], nums[1], nums[0]}}}, used
	case len(nums) == 3 && seps[:2] == ".." && len(toks[4].text) == 2 && lex.dotted:
		return item{dates: []ymd{{2000 + nums[2], nums[1], nums[0]}}}, used
	case len(nums) == 2 && seps == ".." && lex.dotted:
		return item{dates: []ymd{{0, nums[1], nums[0]}}}, used
	case len(nums) == 2 && seps == "." && len(toks[2].text) <= 2:
		c := clock{h: nums[0], m: nums[1], lead: toks[0].text[0] == '0', digits: len(toks[0].text), marked: true}
		it := item{dot: &[2]int{nums[0], nums[1]}}
		if len(toks[2].text) == 2 && c.valid() {
			it.clock = &c
		}
		return it, used
	case (len(nums) == 2 || len(nums) == 3) && strings.Trim(seps, ":") == "" && len(toks[2].text) == 2:
		c := clock{h: nums[0], m: nums[1], lead: toks[0].text[0] == '0', digits: len(toks[0].text), marked: true}
		if len(nums) == 3 {
			c.s = nums[2]
		}
		if c.digits > 2 || !c.valid() {
			return item{}, used
		}
		return item{clock: &c}, used
	case len(nums) == 1 && seps == "." && lex.dotted:
		return item{isNum: true, num: nums[0], digits: len(t.text), ord: true}, 2
	case len(nums) > 1 || nums == nil:
		return item{}, max(used, 1)
	}
	it := item{isNum: true, num: nums[0], digits: len(t.text), lead: t.text[0] == '0' && len(t.text) > 1}
	// "5th", and in Kurmanji "5'ê" too.
	for n := 3; n > 1; n-- {
		if len(toks) < n || !toks[1].glued || n == 3 && !toks[2].glued {
			continue
		}
		if lex.ordinals[key(toks[1:n])] {
			it.ord = true
			return it, n
		}
	}
	return it, 1
}

func (c clock) valid() bool {
	return c.m < 60 && c.s < 60 && (c.h < 24 || c.h == 24 && c.m == 0 && c.s == 0)
}

// shape takes numbers that are glued together by one kind of sign, as far as they go: values, signs, tokens taken.
// A last dot counts ("5.12."), another last sign does not. No values: a number that is too long.
func shape(toks []token) (nums []int, seps string, used int) {
	for used < len(toks) && toks[used].kind == number && (used == 0 || toks[used].glued) {
		if len(toks[used].text) > 4 {
			return nil, "", used + 1
		}
		n, _ := strconv.Atoi(toks[used].text)
		nums = append(nums, n)
		used++
		if used == len(toks) || !toks[used].glued || toks[used].kind != punct || !strings.Contains("-/.:", toks[used].text) {
			return nums, seps, used
		}
		if seps != "" && toks[used].text != seps[:1] {
			return nums, seps, used
		}
		following := used+1 < len(toks) && toks[used+1].kind == number && toks[used+1].glued
		if !following && toks[used].text != "." {
			return nums, seps, used
		}
		seps += toks[used].text
		used++
		if !following {
			return nums, seps, used
		}
	}
	return nums, seps, used
}

// exchanged returns the days that a/b can be: day and month in either order, where both are possible.
func exchanged(a, b, year int) []ymd {
	dm, md := ymd{year, b, a}, ymd{year, a, b}
	switch {
	case a == b || a > 12:
		return []ymd{dm}
	case b > 12:
		return []ymd{md}
	}
	return []ymd{dm, md}
}

// offset reads +01:00, -0330 or +1 after a time.
func offset(toks []token) (minutes, n int) {
	sign := 1
	switch toks[0].text {
	case "+":
	case "-", "−":
		sign = -1
	default:
		return 0, 0
	}
	if len(toks) < 2 || !toks[0].glued || !toks[1].glued || toks[1].kind != number {
		return 0, 0
	}
	h, _ := strconv.Atoi(toks[1].text[:min(4, len(toks[1].text))])
	m := 0
	switch len(toks[1].text) {
	case 4:
		h, m, n = h/100, h%100, 2
	case 2:
		n = 2
		if len(toks) > 3 && toks[2].text == ":" && toks[2].glued && toks[3].kind == number && toks[3].glued && len(toks[3].text) == 2 {
			m, _ = strconv.Atoi(toks[3].text)
			n = 4
		}
	default:
		return 0, 0
	}
	if h > 14 || m > 59 {
		return 0, 0
	}
	return sign * (h*60 + m), n
}
