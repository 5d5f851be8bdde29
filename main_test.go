package main

import (
	"testing"

	"starling/bot/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
