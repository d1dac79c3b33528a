// Command client shows the server who it is, once, a second after its start.
// It tries once: the server must be there by then.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	time.Sleep(time.Second)
	answer, err := http.Get("http://server:8080/scalechecker?value=" + os.Getenv("HOSTNAME"))
	if err != nil {
		panic(err)
	}
	if answer.StatusCode != http.StatusOK {
		panic(fmt.Sprint(answer.Status))
	}
}
