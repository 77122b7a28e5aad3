from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('hosts', '0011_rotation_remembers'),
    ]

    operations = [
        migrations.AddField(
            model_name='host',
            name='tags',
            field=models.JSONField(blank=True, default=list, help_text='Words to find hosts by, as clean_tags makes them.'),
        ),
    ]
