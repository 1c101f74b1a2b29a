"""Raw animation -> stories: the build in stages, the public release, and the Parquet that plain `load_dataset` opens.

build.py, build_settings.py, stages/, engine/   a build and how it runs;  build_command.py, build_management.py the verb
sources/ scan/ segments.py script/ annotate/ references/ audio/ quality/   the work of the stages, a room each
release/, ingest_command.py                     the paper's release without its videos
package.py, package_*.py, staged_media.py, story_spool.py, splits.py, whole_folder.py   a dataset is written
dataset_source.py, package_rewrite.py, manifest.py     a dataset is rewritten, without what was taken down
publish/                                        it goes to the Hub;  stats_command.py, stats_source.py count it
builder.py, loading_script.py                   it is opened by `datasets`, also by old ones
"""
