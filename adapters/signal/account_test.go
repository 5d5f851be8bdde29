package signal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"testing"
)

// A running bot starts its signal-cli afresh when the account was unlinked: who links it just then is shown the code of the next one. One
// that ends again and again is not waited for.
func TestAnAccountIsLinkedWhileSignalCLIStartsAfresh(t *testing.T) {
	for ends, links := range []bool{true, true, false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for n := 0; ; n++ {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				for calls := bufio.NewScanner(conn); calls.Scan() && n >= ends; {
					var call struct{ ID, Method string }
					if json.Unmarshal(calls.Bytes(), &call) == nil {
						result := map[string]string{"startLink": `{"deviceLinkUri":"sgnl://code"}`, "finishLink": `{"number":"` + own + `"}`}[call.Method]
						fmt.Fprintf(conn, `{"id":%q,"result":%s}`+"\n", call.ID, result)
					}
				}
				conn.Close()
			}
		}()
		var shown string
		number, err := Link(t.Context(), Config{Address: "tcp:" + l.Addr().String()}, func(uri string) { shown = uri })
		if links != (err == nil) || links != (number == own) || links != (shown == "sgnl://code") {
			t.Errorf("after %d ends it shows %q and says %q, %v", ends, shown, number, err)
		}
	}
}
