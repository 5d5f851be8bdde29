-- v0 -> v1: Who saw an alert and who can help
CREATE TABLE alert_answers (
	alert  TEXT   NOT NULL,
	room   BIGINT NOT NULL,
	person BIGINT NOT NULL,
	kind   TEXT   NOT NULL,
	at     BIGINT NOT NULL,
	PRIMARY KEY (alert, room, person, kind)
);
CREATE INDEX alert_answers_person ON alert_answers (person);
