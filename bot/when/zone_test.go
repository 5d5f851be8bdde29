package when

import (
	"testing"
	"time"
)

func TestFindZone(t *testing.T) {
	for text, want := range map[string][]string{
		"Europe/Paris":               {"Europe/Paris"},
		"europe/paris":               {"Europe/Paris"},
		"america/new york":           {"America/New_York"},
		"America/Montreal":           {"America/Montreal"},
		"Asia/Calcutta":              {"Asia/Calcutta"},
		"UTC":                        {"UTC"},
		"Lille":                      {"Europe/Paris"},
		"القاهرة":                    {"Africa/Cairo"},
		"قاهرة":                      {"Africa/Cairo"},
		"Le Caire":                   {"Africa/Cairo"},
		"Qahîre":                     {"Africa/Cairo"},
		"Nova York":                  {"America/New_York"},
		"Nueva York":                 {"America/New_York"},
		"montreal":                   {"America/Toronto"},
		"Montréal":                   {"America/Toronto"},
		"sao paulo":                  {"America/Sao_Paulo"},
		"Köln":                       {"Europe/Berlin"},
		"Colonia":                    {"Europe/Berlin"},
		"Genf":                       {"Europe/Zurich"},
		"Amed":                       {"Europe/Istanbul"},
		"Diyarbakir":                 {"Europe/Istanbul"},
		"Hewlêr":                     {"Asia/Baghdad"},
		"أربيل":                      {"Asia/Baghdad"},
		"Kobane":                     {"Asia/Damascus"},
		"Qamişlo":                    {"Asia/Damascus"},
		"Qamislo":                    {"Asia/Damascus"},
		"Bexda":                      {"Asia/Baghdad"},
		"بيروت":                      {"Asia/Beirut"},
		"Beyrouth":                   {"Asia/Beirut"},
		"غزة":                        {"Asia/Gaza"},
		"Ciudad de México":           {"America/Mexico_City"},
		"São Petersburgo":            {"Europe/Moscow"},
		"St. Louis":                  {"America/Chicago"},
		"Barcelona":                  {"Europe/Madrid", "America/Caracas"},
		"London":                     {"Europe/London", "America/Toronto"},
		"Londres":                    {"Europe/London"},
		"Santiago":                   {"America/Santiago", "America/Santo_Domingo", "Europe/Madrid"},
		"Tripoli":                    {"Africa/Tripoli", "Asia/Beirut"},
		"":                           nil,
		"nowhere in particular":      nil,
		"../../etc/passwd":           nil,
		"Paris, Texas":               nil,
		"EST":                        nil,
		string(make([]byte, 100000)): nil,
	} {
		var got []string
		for _, p := range FindZone(text) {
			got = append(got, p.Zone)
		}
		if len(got) != len(want) {
			t.Errorf("%.40q: got %q, want %q", text, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%.40q: got %q, want %q", text, got, want)
			}
		}
	}
}

func TestEveryPlaceHasAZoneThatLoads(t *testing.T) {
	g := loadGazetteer()
	if len(g.zones) < 500 || len(g.cities) < 1000 {
		t.Errorf("%d zones, %d names of cities", len(g.zones), len(g.cities))
	}
	for name, places := range g.cities {
		for _, p := range places {
			if _, err := time.LoadLocation(p.Zone); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, p := range g.zones {
		if _, err := time.LoadLocation(p.Zone); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
