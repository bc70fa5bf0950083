package service

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// contract checks responses against the OpenAPI document, and knows which parts of it were met.
type contract struct {
	t    testing.TB
	root map[string]any
	seen map[string]bool // "GET /v1/token 200", "Token.scope", "Problem.code=usage"
}

func newContract(t testing.TB) *contract {
	t.Helper()
	c := &contract{t: t, seen: make(map[string]bool)}
	if err := yaml.Unmarshal(OpenAPI, &c.root); err != nil {
		t.Fatal(err)
	}
	return c
}

// at returns the part of the document at a path, with references followed.
func (c *contract) at(from any, path ...string) map[string]any {
	node, _ := from.(map[string]any)
	for _, name := range path {
		next, _ := node[name].(map[string]any)
		if ref, ok := next["$ref"].(string); ok {
			next = c.at(c.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
		node = next
	}
	return node
}

// check checks one response, whose body it reads.
func (c *contract) check(resp *http.Response) (body []byte) {
	c.t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	method, path := strings.ToLower(resp.Request.Method), resp.Request.URL.Path
	if resp.StatusCode == http.StatusMethodNotAllowed { // of the path, whichever it allows
		method = "get"
	}
	name := fmt.Sprintf("%s %s %d", method, path, resp.StatusCode)
	declared := c.at(c.root, "paths", path, method, "responses", fmt.Sprint(resp.StatusCode))
	if declared == nil {
		c.t.Fatalf("%s is not declared: %s", name, body)
	}
	c.seen[name] = true
	for header := range c.at(declared, "headers") {
		if resp.Header.Get(header) == "" {
			c.t.Errorf("%s has no %s", name, header)
		}
	}
	kind := resp.Header.Get("Content-Type")
	media := c.at(declared, "content", kind)
	if media == nil {
		c.t.Fatalf("%s has the type %q", name, kind)
	}
	if kind == "application/yaml" {
		return body
	}
	ref, _ := media["schema"].(map[string]any)["$ref"].(string)
	c.validate(name, strings.TrimPrefix(ref, "#/components/schemas/"), body)
	return body
}

// validate validates a document, in which no member may be that the schema does not have.
func (c *contract) validate(response, name string, body []byte) {
	c.t.Helper()
	text, err := json.Marshal(c.at(c.root, "components", "schemas"))
	if err != nil {
		c.t.Fatal(err)
	}
	text = []byte(strings.ReplaceAll(string(text), "#/components/schemas/", "#/$defs/"))
	root := &jsonschema.Schema{Ref: "#/$defs/" + name}
	if err := json.Unmarshal(text, &root.Defs); err != nil {
		c.t.Fatal(err)
	}
	for _, s := range root.Defs {
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	}
	resolved, err := root.Resolve(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(body, &document); err != nil {
		c.t.Fatalf("%s: %v: %s", response, err, body)
	}
	if err := resolved.Validate(document); err != nil {
		c.t.Errorf("%s: %v: %s", response, err, body)
	}
	c.note(name, document)
}

// note notes which members a document has, and which words of an enumeration.
func (c *contract) note(name string, document any) {
	object, _ := document.(map[string]any)
	for member, value := range object {
		c.seen[name+"."+member] = true
		if text, ok := value.(string); ok {
			c.seen[name+"."+member+"="+text] = true
		}
		declared, _ := c.at(c.root, "components", "schemas", name)["properties"].(map[string]any)
		property, _ := declared[member].(map[string]any)
		items, _ := property["items"].(map[string]any)
		for _, inner := range []struct {
			of    map[string]any
			value any
		}{{property, []any{value}}, {items, value}} {
			ref, ok := inner.of["$ref"].(string)
			for _, v := range asList(inner.value) {
				if ok {
					c.note(strings.TrimPrefix(ref, "#/components/schemas/"), v)
				}
			}
		}
	}
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}

// wantAll fails the test if the document declares what no response had.
func (c *contract) wantAll() {
	c.t.Helper()
	for path, methods := range c.at(c.root, "paths") {
		for method := range methods.(map[string]any) {
			for status := range c.at(c.root, "paths", path, method, "responses") {
				c.want(method + " " + path + " " + status)
			}
		}
	}
	for name, schema := range c.at(c.root, "components", "schemas") {
		for member, property := range c.at(schema, "properties") {
			c.want(name + "." + member)
			for _, word := range asList(property.(map[string]any)["enum"]) {
				c.want(name + "." + member + "=" + word.(string))
			}
		}
	}
}

func (c *contract) want(part string) {
	c.t.Helper()
	if !c.seen[part] {
		c.t.Errorf("no response was %s", part)
	}
}

// The document in docs is the one that the service has.
func TestOpenAPIPage(t *testing.T) {
	const page = "../../../../docs/openapi.yaml"
	if os.Getenv("HANDSTAMP_TEST_UPDATE") != "" {
		if err := os.WriteFile(page, OpenAPI, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(page); err != nil || string(text) != string(OpenAPI) {
		t.Errorf("docs/openapi.yaml is another one: run this test with HANDSTAMP_TEST_UPDATE=1 (%v)", err)
	}
}

// TestOpenAPIIsTidy holds the document to what linters of OpenAPI ask for: names that are used once,
// references that lead somewhere and all of which are used, and a description everywhere.
func TestOpenAPIIsTidy(t *testing.T) {
	c := newContract(t)
	if c.root["openapi"] != "3.1.0" {
		t.Errorf("it is OpenAPI %v", c.root["openapi"])
	}
	used, ids := make(map[string]bool), make(map[string]bool)
	var walk func(at string, node any)
	walk = func(at string, node any) {
		list, _ := node.([]any)
		for i, v := range list {
			walk(fmt.Sprint(at, "/", i), v)
		}
		object, _ := node.(map[string]any)
		if ref, ok := object["$ref"].(string); ok {
			used[ref] = true
			if c.at(c.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
				t.Errorf("%s: %s leads nowhere", at, ref)
			}
		}
		if id, ok := object["operationId"].(string); ok {
			if ids[id] {
				t.Errorf("%s: the operationId %s is there twice", at, id)
			}
			ids[id] = true
		}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			walk(at+"/"+name, object[name])
		}
	}
	walk("#", c.root)
	for _, kind := range []string{"schemas", "responses", "parameters", "headers"} {
		for name, part := range c.at(c.root, "components", kind) {
			ref := "#/components/" + kind + "/" + name
			if !used[ref] {
				t.Errorf("%s is not used", ref)
			}
			if part.(map[string]any)["description"] == nil {
				t.Errorf("%s has no description", ref)
			}
		}
	}
	for name, schema := range c.at(c.root, "components", "schemas") {
		for member, property := range c.at(schema, "properties") {
			p := property.(map[string]any)
			if p["description"] == nil && p["$ref"] == nil && p["items"] == nil {
				t.Errorf("%s.%s has no description", name, member)
			}
		}
	}
	for path, methods := range c.at(c.root, "paths") {
		for method, operation := range methods.(map[string]any) {
			for _, member := range []string{"operationId", "summary", "description", "tags", "responses"} {
				if operation.(map[string]any)[member] == nil {
					t.Errorf("%s %s has no %s", method, path, member)
				}
			}
		}
	}
}
