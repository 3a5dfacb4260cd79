"""Windows: a scheduled task that starts when the user logs in."""

import os
import subprocess
from pathlib import Path
from xml.sax.saxutils import escape

from fl_client.service.order import Order, Plan, Step

NAME = "Constellation"


def task(order: Order, user: str) -> str:
    # Without a window: pythonw.exe is python.exe without one.
    program = order.python.with_name(order.python.name.replace("python.exe", "pythonw.exe"))
    arguments = subprocess.list2cmdline(order.command[1:])
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>Lends this machine to the training cluster while it is idle</Description>
  </RegistrationInfo>
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
      <UserId>{escape(user)}</UserId>
    </LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{escape(user)}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>8</Priority>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>255</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(str(program))}</Command>
      <Arguments>{escape(arguments)}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def install(order: Order) -> Plan:
    create = Step(("schtasks", "/Create", "/F", "/TN", NAME, "/XML", str(_path(order))))
    start = Step(("schtasks", "/Run", "/TN", NAME))
    return Plan(_path(order), task(order, _user()), after=(create, start), encoding="utf-16")


def uninstall(order: Order) -> Plan:
    stop = Step(("schtasks", "/End", "/TN", NAME), may_fail=True)
    delete = Step(("schtasks", "/Delete", "/F", "/TN", NAME), may_fail=True)
    return Plan(_path(order), "", before=(stop, delete))


def _path(order: Order) -> Path:
    return order.home / "constellation-task.xml"


def _user() -> str:
    domain, name = os.environ.get("USERDOMAIN", ""), os.environ.get("USERNAME", "")
    return f"{domain}\\{name}" if domain else name
