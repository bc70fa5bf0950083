package lab_test

import (
	"fmt"
	"net/http"

	"github.com/handstamp/handstamp/lab"
)

// A client sends its requests to the MCP server; afterwards the server lists them.
func Example() {
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	// The client under test, which here has no token and gives up at once.
	response, err := http.Post(server.MCPURL(), "application/json", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	response.Body.Close()

	for _, request := range server.Requests() {
		fmt.Println(request)
	}
	fmt.Println("browser tabs:", server.Counts()["authorize"])
	// Output:
	// 1 mcp POST /mcp → 401
	// browser tabs: 0
}
