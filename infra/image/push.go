package image

import (
	"context"
	"fmt"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// Push has the engine send an image to the registry its name gives, with the
// credentials of the Docker config.
func (i *Images) Push(ctx context.Context, ref string, sink progress.Sink) error {
	task := progress.Start(sink, "push "+ref, "asking the registry")
	err := i.engine.PushImage(ctx, ref, newLayerProgress(task).report)
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
		err = problem.New(fmt.Sprintf("push image %q", ref), err, "check that the registry can be reached and `docker login` has credentials for it")
	}
	return task.End(err, "")
}
