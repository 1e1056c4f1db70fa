"""Every option of every method and teacher, with its default: configuration is data, checked here.

No torch in this package: a mistake in a suite is answered before anything heavy is imported.
"""

from .base import Options as Options
from .base import StudentOptions as StudentOptions
from .consistency import ConsistencyOptions as ConsistencyOptions
from .consistency import ConsistencyStudentOptions as ConsistencyStudentOptions
from .consistency import ConsistencyTrainingOptions as ConsistencyTrainingOptions
from .consistency import CTOptions as CTOptions
from .consistency import ECTOptions as ECTOptions
from .consistency import ICTOptions as ICTOptions
from .distillation import BootOptions as BootOptions
from .distillation import KnowledgeOptions as KnowledgeOptions
from .distillation import PairOptions as PairOptions
from .distillation import PairSource as PairSource
from .distillation import ProgressiveOptions as ProgressiveOptions
from .distillation import RectifiedFlowOptions as RectifiedFlowOptions
from .distillation import TractOptions as TractOptions
from .learned_solvers import BespokeOptions as BespokeOptions
from .learned_solvers import DODEOptions as DODEOptions
from .learned_solvers import IIAOptions as IIAOptions
from .score_matching import DiffInstructOptions as DiffInstructOptions
from .score_matching import DMDOptions as DMDOptions
from .score_matching import ScoreMatchingOptions as ScoreMatchingOptions
from .score_matching import SiDOptions as SiDOptions
from .score_matching import SIMOptions as SIMOptions
from .solvers import AdaptiveOptions as AdaptiveOptions
from .solvers import DDIMOptions as DDIMOptions
from .solvers import DDPMOptions as DDPMOptions
from .solvers import DEISOptions as DEISOptions
from .solvers import FastOptions as FastOptions
from .solvers import Grid as Grid
from .solvers import HeunOptions as HeunOptions
from .solvers import IPNDMOptions as IPNDMOptions
from .solvers import MultistepOptions as MultistepOptions
from .solvers import PlusPlusSinglestepOptions as PlusPlusSinglestepOptions
from .solvers import PNDMOptions as PNDMOptions
from .solvers import RK4Options as RK4Options
from .solvers import RungeKuttaOptions as RungeKuttaOptions
from .solvers import SinglestepOptions as SinglestepOptions
from .solvers import SolverOptions as SolverOptions
from .solvers import UniPCOptions as UniPCOptions
from .teachers import CheckpointOptions as CheckpointOptions
from .teachers import ExactOptions as ExactOptions
from .teachers import MLPOptions as MLPOptions
from .teachers import PretrainOptions as PretrainOptions
from .teachers import UNetOptions as UNetOptions
