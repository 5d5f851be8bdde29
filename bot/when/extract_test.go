package when

import "testing"

func TestExtract(t *testing.T) {
	for _, c := range []struct{ lang, text, want, rest string }{
		{"en", "12 mattresses by saturday near the port", "2026-11-28", "12 mattresses near the port"},
		{"en", "assembly tomorrow 19:00 at the social centre", "2026-11-24T19:00", "assembly at the social centre"},
		{"en", "food for 20 people by friday", "2026-11-27", "food for 20 people"},
		{"en", "friday 19:00 assembly", "2026-11-27T19:00", "assembly"},
		{"en", "assembly 5/12 19:00", "2026-12-05T19:00 | 2027-05-12T19:00", "assembly"},
		{"en", "assembly, 5 December at 7pm, social centre", "2026-12-05T19:00", "assembly social centre"},
		{"en", "assembly tomorrow evening at the centre", "- notime", "assembly at the centre"},
		{"en", "assembly every friday at 19:00", "- repeats", "assembly"},
		{"en", "camp friday-sunday", "- range", "camp"},
		{"en", "assembly wenesday 19:00", "- noday", "assembly wenesday"},
		{"ar", "اجتماع كل جمعة الساعة 7 مساء", "- noday", "اجتماع كل جمعة"},
		{"en", "camp from friday to sunday by the sea", "- range", "camp by the sea"},
		{"en", "camp friday until sunday", "- range", "camp"},
		{"en", "assembly tomorrow 19:00-21:00", "- range", "assembly"},
		{"en", "assembly tomorrow 19:00 until 21:00", "- range", "assembly"},
		{"en", "assembly friday at 7 at the centre", "2026-11-27T07:00 | 2026-11-27T19:00", "assembly at the centre"},
		{"en", "meeting (tomorrow 19:00)", "2026-11-24T19:00", "meeting"},
		{"es", "reunión el jueves 26 a las 19h", "2026-11-26T19:00", "reunión"},
		{"es", "turnos de lunes a viernes", "- range", "turnos"},
		{"es", "asamblea mañana a las 19 en el centro social", "2026-11-24T19:00", "asamblea en el centro social"},
		{"es", "comida para 20 familias para el viernes", "2026-11-27", "comida para 20 familias"},
		{"es", "asamblea el jueves a las 7 de la tarde en el puerto", "2026-11-26T19:00", "asamblea en el puerto"},
		{"fr", "assemblée demain 19h", "2026-11-24T19:00", "assemblée"},
		{"fr", "réunion vendredi à 18h30 au local", "2026-11-27T18:30", "réunion au local"},
		{"pt", "assembleia sexta às 19h no centro", "2026-11-27T19:00", "assembleia no centro"},
		{"pt", "20 cobertores até sexta-feira", "2026-11-27", "20 cobertores"},
		{"de", "Plenum am 5. Dezember um 18:30 im Zentrum", "2026-12-05T18:30", "Plenum im Zentrum"},
		{"de", "Plenum Freitag 19 Uhr", "2026-11-27T19:00", "Plenum"},
		{"ar", "اجتماع غدا الساعة 19:00 في المركز", "2026-11-24T19:00", "اجتماع في المركز"},
		{"ku", "civîn sibê saet 19:00 li navendê", "2026-11-24T19:00", "civîn li navendê"},
		{"ku", "xwarin heta înê", "2026-11-27", "xwarin"},
	} {
		r, rest, found := Extract(c.text, testOptions(c.lang))
		got := show(r)
		if r.Problem != None {
			got += " " + string(r.Problem)
		}
		if !found || got != c.want || rest != c.rest {
			t.Errorf("%q: got %q, rest %q, %v; want %q, rest %q", c.text, got, rest, found, c.want, c.rest)
		}
	}
}

func TestExtractFindsNothing(t *testing.T) {
	for _, c := range []struct{ lang, text string }{
		{"en", "12 mattresses near the port"},
		{"en", "food for 20 people"},
		{"en", "sun hats and second hand tents"},
		{"en", "we may need 5 tents"},
		{"en", "the friday market needs tables"},
		{"en", "leaflets, not before friday"},
		{"en", "paint for friday and brushes for thursday"},
		{"en", "assembly friday and sunday"},
		{"en", "blankets by friday 20 boxes"},
		{"en", "tomorrow: assembly 19:00"},
		{"en", "friday 27 boxes"},
		{"en", "room 5 at 12 main street"},
		{"en", "meet at 5 river lane"},
		{"en", "5-7 december congress"},
		{"en", "boxes for 3 days"},
		{"en", "12 out of 20 tents"},
		{"en", "5 may come by bus"},
		{"en", "20 min de marche"},
		{"en", "semi-detached house, 2 rooms"},
		{"en", "what we do, 5 things"},
		{"de", "Essen hier im Zentrum"},
		{"es", "el mes pasado"},
		{"es", "cerca del mar hay 3 casas"},
		{"es", "ropa de segunda mano"},
		{"fr", "mon dim sum pour 12 personnes"},
		{"fr", "demain à 5 rue du Port"},
		{"fr", "demain 19h 20 personnes"},
		{"pt", "roupa de segunda mão"},
		{"pt", "na segunda rua"},
		{"de", "So ein Zelt, 3 Stück"},
		{"de", "2 Decken, 10 Kissen"},
		{"ar", "طعام لعشرين شخصا"},
		{"ku", "xwarin ji bo 20 kesan"},
	} {
		if r, rest, found := Extract(c.text, testOptions(c.lang)); found || rest != c.text {
			t.Errorf("%q: got %s (%s), rest %q", c.text, show(r), r.Problem, rest)
		}
	}
}
