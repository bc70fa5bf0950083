package security_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// exported has each exported type of the package.
var exported = map[string]reflect.Type{
	"ImportOptions":        reflect.TypeFor[handstamp.ImportOptions](),
	"ImportResult":         reflect.TypeFor[handstamp.ImportResult](),
	"AuthorizationServer":  reflect.TypeFor[handstamp.AuthorizationServer](),
	"AuthorizationRequest": reflect.TypeFor[handstamp.AuthorizationRequest](),
	"Client":               reflect.TypeFor[handstamp.Client](),
	"AssertionSource":      reflect.TypeFor[handstamp.AssertionSource](),
	"Enterprise":           reflect.TypeFor[handstamp.Enterprise](),
	"TokenExchange":        reflect.TypeFor[handstamp.TokenExchange](),
	"Error":                reflect.TypeFor[handstamp.Error](),
	"Event":                reflect.TypeFor[handstamp.Event](),
	"EventDecision":        reflect.TypeFor[handstamp.EventDecision](),
	"EventField":           reflect.TypeFor[handstamp.EventField](),
	"EventRequest":         reflect.TypeFor[handstamp.EventRequest](),
	"EventStep":            reflect.TypeFor[handstamp.EventStep](),
	"ImportedLogin":        reflect.TypeFor[handstamp.ImportedLogin](),
	"Handler":              reflect.TypeFor[handstamp.Handler](),
	"ClientCredentials":    reflect.TypeFor[handstamp.ClientCredentials](),
	"DPoPMode":             reflect.TypeFor[handstamp.DPoPMode](),
	"DeviceAuthorization":  reflect.TypeFor[handstamp.DeviceAuthorization](),
	"DeviceCode":           reflect.TypeFor[handstamp.DeviceCode](),
	"Grant":                reflect.TypeFor[handstamp.Grant](),
	"GrantTarget":          reflect.TypeFor[handstamp.GrantTarget](),
	"Hooks":                reflect.TypeFor[handstamp.Hooks](),
	"InspectedServer":      reflect.TypeFor[handstamp.InspectedServer](),
	"Inspection":           reflect.TypeFor[handstamp.Inspection](),
	"LoginPlan":            reflect.TypeFor[handstamp.LoginPlan](),
	"MCPTrial":             reflect.TypeFor[handstamp.MCPTrial](),
	"PastFailure":          reflect.TypeFor[handstamp.PastFailure](),
	"ResourceMetadata":     reflect.TypeFor[handstamp.ResourceMetadata](),
	"ServerResponse":       reflect.TypeFor[handstamp.ServerResponse](),
	"Trial":                reflect.TypeFor[handstamp.Trial](),
	"JWTBearer":            reflect.TypeFor[handstamp.JWTBearer](),
	"LoginEvent":           reflect.TypeFor[handstamp.LoginEvent](),
	"LoginOptions":         reflect.TypeFor[handstamp.LoginOptions](),
	"LoginPolicy":          reflect.TypeFor[handstamp.LoginPolicy](),
	"LoginResult":          reflect.TypeFor[handstamp.LoginResult](),
	"LoginStep":            reflect.TypeFor[handstamp.LoginStep](),
	"LogoutOptions":        reflect.TypeFor[handstamp.LogoutOptions](),
	"LogoutResult":         reflect.TypeFor[handstamp.LogoutResult](),
	"RefreshHelper":        reflect.TypeFor[handstamp.RefreshHelper](),
	"Prompt":               reflect.TypeFor[handstamp.Prompt](),
	"RefreshEvent":         reflect.TypeFor[handstamp.RefreshEvent](),
	"GrantError":           reflect.TypeFor[handstamp.GrantError](),
	"ManualRegistration":   reflect.TypeFor[handstamp.ManualRegistration](),
	"Registration":         reflect.TypeFor[handstamp.Registration](),
	"State":                reflect.TypeFor[handstamp.State](),
	"Status":               reflect.TypeFor[handstamp.Status](),
	"Token":                reflect.TypeFor[handstamp.Token](),
	"TokenOptions":         reflect.TypeFor[handstamp.TokenOptions](),
}

// A refresh token is the login itself. No field, method or result of this
// package gives one to a caller: it is in the Store, and on its way to the token
// endpoint that it belongs to.
func TestNoAccessorForRefreshTokens(t *testing.T) {
	telling := regexp.MustCompile(`(?i)^refresh_?token$|idtoken|grant$|record|snapshot`)
	for name, typ := range exported {
		if typ.Kind() == reflect.Struct {
			for field := range fieldsOf(typ) {
				// A way to obtain tokens that the application gives, and none of them.
				configured := field.Type == exported["Grant"] || field.Type == exported["AssertionSource"]
				if telling.MatchString(field.Name) && !configured || holdsRecord(field.Type) {
					t.Errorf("%s has the field %s", name, field.Name)
				}
			}
		}
		types := []reflect.Type{typ, reflect.PointerTo(typ)}
		if typ.Kind() == reflect.Interface {
			types = nil // its methods are not exported
		}
		for _, typ := range types {
			for i := range typ.NumMethod() {
				method := typ.Method(i)
				if telling.MatchString(method.Name) {
					t.Errorf("%s has the method %s", name, method.Name)
				}
				for j := range method.Type.NumOut() {
					if out := method.Type.Out(j); holdsRecord(out) {
						t.Errorf("%s.%s returns a %s", name, method.Name, out)
					}
				}
			}
		}
	}
	for name := range declared(t) {
		if exported[name] == nil {
			t.Errorf("the exported type %s is not looked at here", name)
		}
	}
}

// fieldsOf yields the exported fields.
func fieldsOf(typ reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, field := range reflect.VisibleFields(typ) {
			if field.IsExported() && !yield(field) {
				return
			}
		}
	}
}

// holdsRecord reports whether a value of the type leads to a stored credential.
func holdsRecord(typ reflect.Type) bool {
	for {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan, reflect.Map:
			typ = typ.Elem()
			continue
		}
		break
	}
	switch typ {
	case reflect.TypeFor[record.Record](), reflect.TypeFor[record.Grant](), reflect.TypeFor[record.RawResponse](), reflect.TypeFor[record.Intent]():
		return true
	}
	return false
}

// declared returns the names of the exported types in the package's files.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../../*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of the library: %v", err)
	}
	names := make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range group.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok && spec.Name.IsExported() {
					names[spec.Name.Name] = true
				}
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("no exported type was found")
	}
	return names
}

// Whatever the API returns of a login, the refresh token is not in it, not even
// for those who look inside Secrets.
func TestRefreshTokenIsNotInAnyResult(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	c, _ := w.Recorded()
	var results []any
	c.OnRegister = func(_ context.Context, r handstamp.Registration) error {
		results = append(results, r)
		return nil
	}
	c.Hooks = handstamp.Hooks{
		Refreshed: func(e handstamp.RefreshEvent) { results = append(results, e) },
		LoggedIn:  func(e handstamp.LoginEvent) { results = append(results, e) },
		Notice:    func(server, message string) { results = append(results, server, message) },
	}
	add := func(result any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
	}
	server := w.Lab.MCPURL()
	login, err := c.Login(t.Context(), server, handstamp.LoginOptions{})
	add(login, err)
	add(c.Token(t.Context(), server, handstamp.TokenOptions{Refresh: true}))
	add(c.Status(t.Context(), server))
	add(c.List(t.Context()))
	add(c.TokenSource(t.Context(), server).Token())
	source, err := c.Handler(server).TokenSource(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	add(source.Token())

	var all strings.Builder
	for _, result := range results {
		reveal(&all, reflect.ValueOf(result))
	}
	access, refresh := w.Record().Grant.AccessToken.Reveal(), w.Record().Grant.RefreshToken.Reveal()
	if !proctest.Contains(all.String(), access) {
		t.Error("the access token was not found, so the search does not work")
	}
	for _, secret := range append(w.Lab.Secrets(), refresh) {
		if strings.HasPrefix(secret, "refresh-") && proctest.Contains(all.String(), secret) {
			t.Errorf("a refresh token is in %s", all.String())
		}
	}
	if _, err := c.Logout(t.Context(), server, handstamp.LogoutOptions{}); err != nil {
		t.Error(err)
	}
}

// reveal writes every string that can be reached from a value.
func reveal(b *strings.Builder, v reflect.Value) {
	(&revealer{b, make(map[visited]bool)}).reveal(v)
}

type revealer struct {
	*strings.Builder
	seen map[visited]bool // pointers may lead back
}

type visited struct {
	at   unsafe.Pointer
	kind reflect.Type
}

func (r *revealer) reveal(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		fmt.Fprintln(r, v.String()) // of a Secret, too
	case reflect.Pointer:
		if p := (visited{v.UnsafePointer(), v.Type()}); p.at != nil && !r.seen[p] {
			r.seen[p] = true
			r.reveal(v.Elem())
		}
	case reflect.Interface:
		if !v.IsNil() {
			r.reveal(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			r.reveal(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			r.reveal(v.Index(i))
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			r.reveal(key)
			r.reveal(value)
		}
	}
}

// Secrets do not show through the structs that hold them, whatever the verb and
// however deep they are.
func TestSecretsInStructs(t *testing.T) {
	const hidden = "a-hidden-secret"
	for _, holder := range []any{
		record.Record{Clients: []*record.Client{{Secret: hidden}}, Grant: &record.Grant{AccessToken: hidden}, Intent: &record.Intent{Response: &record.RawResponse{Body: hidden}}},
		record.Client{Secret: hidden, RegistrationAccessToken: hidden, Response: hidden},
		record.Grant{AccessToken: hidden, RefreshToken: hidden, IDToken: hidden},
		record.Intent{Response: &record.RawResponse{Body: hidden}},
		record.RawResponse{Body: hidden},
		handstamp.Registration{ClientSecret: hidden, Response: hidden},
		handstamp.Token{Value: hidden},
		handstamp.ImportedLogin{TokenResponse: hidden, Registration: handstamp.Registration{ClientSecret: hidden, Response: hidden}},
		secret.String(hidden),
	} {
		pointer := reflect.New(reflect.TypeOf(holder))
		pointer.Elem().Set(reflect.ValueOf(holder))
		for _, value := range []any{
			holder, pointer.Interface(), []any{holder}, []any{pointer.Interface()}, map[string]any{"x": pointer.Interface()},
			struct{ Deep any }{holder}, struct{ Deep any }{pointer.Interface()}, &struct{ Deep any }{pointer.Interface()},
		} {
			// Before %p and %w fmt asks no method of anything, and go vet has to.
			for _, verb := range "vstTqxXdcbeEfFgGoOU" {
				for _, flag := range []string{"", "+", "#", "-40", " ", "08"} {
					text := fmt.Sprintf("%"+flag+string(verb), value)
					if proctest.Contains(text, hidden) {
						t.Errorf("%%%s%c of %T shows the secret: %s", flag, verb, value, text)
					}
				}
			}
		}
	}
}
