package handstamp

// Enterprise stub
import (
	"context"
	"net/url"
)

// Enterprise is to come.
type Enterprise struct{}

func (Enterprise) grantType() string { return grantJWTBearer }
func (Enterprise) params(ctx context.Context, l *loginFlow, t GrantTarget) (url.Values, error) {
	return nil, nil
}
