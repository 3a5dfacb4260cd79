from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from bench import plain, workload

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    folder = Path(str(context.run_config["folder"]))
    index = int(context.node_config["partition-id"])
    job = workload.read(folder)
    incoming = {name: array.numpy() for name, array in message.content["arrays"].items()}
    module = plain.build(job.workload.model, incoming)
    images, labels = plain.rows(folder, f"part-{index}")
    plain.train(module, images, labels, int(message.content["config"]["server-round"]), index)
    content = RecordDict(
        {
            "arrays": ArrayRecord(module.state_dict()),
            "metrics": MetricRecord({"num-examples": len(labels)}),
        }
    )
    return Message(content, reply_to=message)
