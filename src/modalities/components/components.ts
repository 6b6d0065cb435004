/** Components of Modalities' registry that Penstock knows: component_key -> variant_key -> options. */
import * as data from './components-data.js'
import * as model from './components-model.js'
import * as run from './components-run.js'
import { numberConversion } from './number-conversion.js'
import type { ComponentRegistry } from './option-types.js'

export const modalitiesComponents: ComponentRegistry = {
  app_state: run.appState,
  batch_sampler: data.batchSampler,
  checkpoint_loading: run.checkpointLoading,
  checkpoint_saving: run.checkpointSaving,
  checkpoint_saving_execution: run.checkpointSavingExecution,
  checkpoint_saving_strategy: run.checkpointSavingStrategy,
  collate_fn: data.collateFn,
  data_loader: data.dataLoader,
  dataset: data.datasets,
  dataset_batch_generator: data.datasetBatchGenerator,
  device_mesh: model.deviceMesh,
  gradient_clipper: run.gradientClipper,
  inference_component: data.inferenceComponent,
  layer_norm: model.layerNorms,
  loss: run.loss,
  mfu_calculator: run.mfuCalculator,
  model: model.models,
  model_initialization: model.modelInitialization,
  number_conversion: numberConversion,
  optimizer: run.optimizer,
  progress_subscriber: run.progressSubscriber,
  results_subscriber: run.resultsSubscriber,
  sampler: data.sampler,
  scheduler: run.scheduler,
  steppable_component: run.steppableComponent,
  steppable_profiler: run.steppableProfiler,
  tokenizer: data.tokenizer,
}

/** Kinds of components that exist in Modalities but are not supported; listed so that they are not reported as typos. */
export const unsupportedKinds: Readonly<Record<string, string>> = {
  debugging: 'debugging hooks',
  model_debugging_hook: 'debugging hooks',
  pipeline: 'pipeline parallelism',
  stages_generator: 'pipeline parallelism',
}
